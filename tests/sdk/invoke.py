"""Invokes a webhook by the official SDK: `python invoke.py URL TOKEN`, with the JSON of the body as stdin.

Runs in the SDK's own environment. Prints what the SDK returned or raised, as JSON.
"""

import json
import sys

import PureCloudPlatformClientV2 as official  # noqa: N813  a name of ours for theirs
from PureCloudPlatformClientV2.rest import ApiException


def main(url, token):
    api = official.IntegrationsApi(official.ApiClient(host=url))
    try:
        answer = api.post_integrations_webhook_events(token, json.load(sys.stdin))
    except ApiException as error:
        headers = {name.lower(): value for name, value in error.headers.items()}
        told = {"status": error.status, "body": json.loads(error.body), "headers": headers}
    except official.rest.urllib3.exceptions.HTTPError as error:  # no answer at all
        told = {"raised": type(error).__name__}
    else:
        told = {"type": type(answer).__name__, "invocation_id": answer.invocation_id}
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
