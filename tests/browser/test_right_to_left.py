"""In a language that is written from right to left, the spans of Latin letters are not mixed up."""

import pytest

from tests.browser.pages import PAGES, PHONE, Scene, arrive

pytestmark = pytest.mark.django_db(transaction=True)

#: The texts of ASCII characters in which one stands left of the one before it in its line.
OUT_OF_ORDER = """() => {
    const found = [];
    const range = document.createRange();
    const texts = document.createTreeWalker(document.querySelector('#content'), NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
        const text = texts.currentNode;
        if (!/^[\\x20-\\x7e\\n]*[a-z0-9][\\x20-\\x7e\\n]*$/i.test(text.data)) continue;
        if (text.parentElement.closest('svg, script, style, select, datalist')) continue;
        let last = null;
        for (let at = 0; at < text.length; at++) {
            range.setStart(text, at);
            range.setEnd(text, at + 1);
            const here = range.getBoundingClientRect();
            if (!here.width || /\\s/.test(text.data[at])) continue;
            if (last && Math.abs(last.top - here.top) < 2 && here.left < last.left - 0.5) {
                found.push(`${text.data.trim()} in ${text.parentElement.outerHTML.slice(0, 120)}`);
                break;
            }
            last = here;
        }
    }
    return found;
}"""


@pytest.fixture
def arabic(settings):
    """Django's own texts are Arabic and its pages run from right to left; ours are English there."""
    settings.LANGUAGE_CODE = "ar"


@pytest.mark.parametrize("name", PAGES)
def test_every_latin_text_is_read_from_left_to_right(visit, arabic, name):
    visitor = arrive(name, Scene(visit, {"viewport": PHONE}))

    assert visitor.page.evaluate("document.documentElement.dir") == "rtl"
    assert visitor.page.evaluate(OUT_OF_ORDER) == []
    assert visitor.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
