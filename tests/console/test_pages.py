"""Every page of a full and of an empty installation."""

import pytest

PAGES = [
    "/",
    "/endpoints/churn",
    "/endpoints/delivery-eta",
    "/endpoints/fraud",
    "/rollouts/churn-1",
    "/models",
    "/models/churn/2",
    "/drift/delivery-eta",
    "/drift/churn",
    "/drift/fraud",
    "/alerts",
    "/ledger",
]


@pytest.mark.parametrize("path", PAGES)
def test_page_opens_with_exactly_one_sentence_as_its_heading(reader, story, path):
    page = reader.get(path)

    assert page.status_code == 200, page.text
    assert page.text.count("<h1>") == 1
