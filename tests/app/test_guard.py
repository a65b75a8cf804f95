"""Only this machine's own pages are answered, and no page may ask anybody else."""

import re

import pytest

from weightspace.app.guard import host_name, refusal


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}", "[::1]:{port}", "LOCALHOST:1", "127.0.0.1"])
def test_names_of_this_machine_are_answered(client, host):
    status, _ = client.get("/api/about", host=host.format(port=client.port))
    assert status == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1.evil.example", "localhost.evil.example", "10.0.0.1", ""]
)
def test_a_name_that_leads_here_by_rebinding_is_refused(client, host):
    status, told = client.get("/api/about", host=host.format(port=client.port))
    assert status == 403 and "answers to 127.0.0.1" in told["error"]


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
    ],
)
def test_pages_of_other_origins_may_not_ask(client, headers):
    status, told = client.get("/api/about", **headers)
    assert status == 403 and "may not ask" in told["error"]
    assert client.ask("POST", "/api/uploads?name=a.pt", b"x", **headers)[0] == 403


def test_its_own_page_may_ask(client):
    own = f"127.0.0.1:{client.port}"
    assert client.get("/api/about", host=own, origin=f"http://{own}", sec_fetch_site="same-origin")[0] == 200
    assert refusal({"host": own, "sec-fetch-site": "none"}) is None


@pytest.mark.parametrize("authority", ["", ":80", "[::1", "//", "a b"])
def test_what_is_no_host_is_no_name_of_this_machine(authority):
    assert host_name(authority) not in ("127.0.0.1", "localhost", "::1")


@pytest.mark.parametrize("path", ["/", "/map", "/page/main.js", "/api/about", "/nowhere", "/page/../server.py"])
def test_no_answer_lets_a_page_ask_or_be_framed_elsewhere(client, path):
    _, headers, _ = client.ask("GET", path)
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'") and "http" not in policy and "*" not in policy
    assert re.search(r"frame-ancestors '(none|self)'", policy)
    assert headers["x-content-type-options"] == "nosniff" and headers["cache-control"] == "no-store"


def test_the_explorers_own_page_runs_no_code_but_its_files(client):
    _, headers, page = client.ask("GET", "/")
    assert "unsafe" not in headers["content-security-policy"]
    assert b"<style" not in page and b" style=" not in page and b"<script>" not in page


def test_only_files_of_the_page_are_served(client):
    for name in ("..%2fserver.py", "%2e%2e/server.py", "server.py", "nothing.js"):
        assert client.ask("GET", f"/page/{name}")[0] == 404
    assert client.ask("GET", "/page/theme.css")[1]["content-type"].startswith("text/css")
    assert client.ask("DELETE", "/api/about")[0] == 404
