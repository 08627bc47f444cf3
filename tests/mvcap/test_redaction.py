import pytest

from mvcap.redaction import redacted, redacted_values

SECRET = "s3cr3t-value-0123"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"GET https://user:{SECRET}@host/x failed", "GET https://***@host/x failed"),
        (f"https://host/x?a=1&X-Amz-Signature={SECRET}&b=2", "https://host/x?a=1&X-Amz-Signature=***&b=2"),
        (f"https://host/x?key={SECRET}", "https://host/x?key=***"),
        (f"token={SECRET} is wrong", "token=*** is wrong"),
        (f"{{'api_key': '{SECRET}', 'n': 3}}", "{'api_key': ***, 'n': 3}"),
        (f"password: {SECRET}", "password: ***"),
        (f"Authorization: Bearer {SECRET}", "Authorization: Bearer ***"),
        ("401 for hf_AbCdEfGhIjKlMnOpQrStUv", "401 for ***"),
        ("sk-proj-AbCdEfGhIjKlMnOp and AKIAIOSFODNN7EXAMPLE", "*** and ***"),
    ],
)
def test_secrets_that_show_what_they_are_are_hidden(text: str, shown: str):
    assert redacted(text, {}) == shown


@pytest.mark.parametrize(
    "text",
    [
        "s3://bucket/data/train-00001-of-00002.parquet",
        "captions.options.max_new_tokens=32",
        "the tokenizer of Salesforce/instructblip-flan-t5-xl: 3 tokens",
        "user@host.example wrote this",
        "http://gpu1:8000/v1?page=2",
        "keyboard: a black keyboard",
        "{'max_new_tokens': 32, 'keys': 'a'}",
    ],
)
def test_what_is_no_secret_stays(text: str):
    assert redacted(text, {}) == text


@pytest.mark.parametrize(
    "name",
    ["HF_TOKEN", "OPENAI_API_KEY", "AWS_SECRET_ACCESS_KEY", "RAY_AUTH_TOKEN", "DB_PASSWORD", "MY_API_KEY_2"],
)
def test_the_values_of_secret_variables_are_hidden_wherever_they_stand(name: str):
    assert redacted(f"sent {SECRET}, refused", {name: SECRET}) == "sent ***, refused"


@pytest.mark.parametrize(
    ("name", "value"),
    [("HF_TOKEN_PATH", "/secrets/hub"), ("AWS_ACCESS_KEY_ID_FILE", "/secrets/aws-keys"), ("TOKEN", "red")],
)
def test_paths_and_short_words_are_not(name: str, value: str):
    assert redacted(f"reads {value} now", {name: value}) == f"reads {value} now"


def test_a_secret_inside_another_leaves_nothing_of_it():
    environment = {"A_TOKEN": "12345678", "B_TOKEN": "12345678-and-more"}
    assert redacted("12345678-and-more", environment) == "***"


def test_settings_are_hidden_by_the_names_of_their_keys(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SOME_TOKEN", SECRET)
    settings = {
        "options": {
            "api_key": "short",
            "api_key_env": "OPENAI_API_KEY",
            "base_url": f"http://u:{SECRET}@h/v1",
        },
        "paths": [f"/data/{SECRET}", 3, None],
    }
    assert redacted_values(settings) == {
        "options": {"api_key": "***", "api_key_env": "OPENAI_API_KEY", "base_url": "http://***@h/v1"},
        "paths": ["/data/***", 3, None],
    }
