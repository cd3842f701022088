import re


def test_the_page_loads_nothing_from_elsewhere_and_holds_to_its_policy(anonymous):
    page = anonymous.get("/docs")
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)

    assert page.status_code == 200
    assert all(target.startswith("/") for target in loaded)
    assert "<script>" not in page.text
    assert "style=" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    for target in loaded:
        assert anonymous.get(target).status_code == 200
    for asset in ("/docs/docs.js", "/docs/docs.css"):
        text = anonymous.get(asset).text
        assert "http://" not in text
        assert "https://" not in text
        assert "innerHTML" not in text


def test_every_route_is_described_with_what_it_takes(anonymous):
    described = anonymous.get("/openapi.json").json()

    assert described["openapi"].startswith("3.1")
    for path, methods in described["paths"].items():
        for method, route in methods.items():
            assert route["description"].strip(), f"{method} {path} says nothing"
            for parameter in route.get("parameters", []):
                assert parameter["schema"], f"{method} {path} {parameter['name']}"
            body = route.get("requestBody")
            if method in ("put", "patch"):
                assert body, f"{method} {path} shows no body"
    references = re.findall(r'"\$ref":"#/components/schemas/([^"]+)"', anonymous.get("/openapi.json").text)
    assert set(references) <= set(described["components"]["schemas"])
