"""The catalogue as a contract for programs: JSON Schema 2020-12, AsyncAPI 3, and what changes break it."""
