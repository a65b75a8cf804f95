"""A hub on the loopback: repositories from a table, served as the real one serves them."""

import json
import os
import re
import subprocess
import sys
import threading
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote


class StandIn(BaseHTTPRequestHandler):
    """`server.repositories`: `models/org/name` or `datasets/org/name` -> revision -> file -> bytes."""

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = unquote(self.path.split("?")[0]).strip("/")
        if path.startswith("api/"):
            repo, kind, revision = re.fullmatch("(.+?)(?:/(revision|tree)/(.+))?", path.removeprefix("api/")).groups()
            return self.answer_about(repo, revision or "main", kind)
        repo, _, rest = path.partition("/resolve/")
        repo = repo if repo.startswith("datasets/") else f"models/{repo}"
        for revision, files in self.server.repositories.get(repo, {}).items():
            for start in (f"{revision}/", f"{commit_of(revision)}/"):
                if rest.startswith(start) and rest.removeprefix(start) in files:
                    name = rest.removeprefix(start)
                    return self.answer(200, files[name], name, commit=commit_of(revision))
        return self.answer(404, b"", rest, error="EntryNotFound")

    def answer_about(self, repo, revision, kind):
        revisions = self.server.repositories.get(repo, {})
        found = next((r for r in revisions if revision in (r, commit_of(r))), None)
        if found is None:
            return self.answer(404, b"{}", "api", error="RevisionNotFound" if revisions else "RepoNotFound")
        if kind == "tree":
            body = [
                {"type": "file", "path": name, "size": len(content), "oid": sha256(content).hexdigest()[:40]}
                for name, content in revisions[found].items()
            ]
            return self.answer(200, json.dumps(body).encode(), "api", commit=commit_of(found))
        body = {
            "id": repo.partition("/")[2],
            "sha": commit_of(found),
            "siblings": [{"rfilename": name} for name in revisions[found]],
        }
        return self.answer(200, json.dumps(body).encode(), "api", commit=commit_of(found))

    def answer(self, status, body, name, *, error=None, commit="0" * 40):
        asked = self.headers.get("Range") if self.server.ranges else None
        total = len(body)
        if asked and status == 200:
            first, last = asked.removeprefix("bytes=").split("-")
            body, status = body[int(first) : int(last) + 1], 206
        self.send_response(status)
        if status == 206:
            self.send_header("Content-Range", f"bytes {first}-{int(first) + len(body) - 1}/{total}")
        self.send_header("ETag", f'"{sha256(body).hexdigest()[:40]}"')
        self.send_header("X-Repo-Commit", commit)
        self.send_header("Content-Length", str(len(body)))
        if error:
            self.send_header("X-Error-Code", error)
        self.end_headers()
        if self.command == "GET":
            self.server.log.append((name, len(body), commit))
            self.wfile.write(body)


def commit_of(revision):
    """The commit that a branch or tag of the stand-in points to."""
    return sha256(revision.encode()).hexdigest()[:40]


@contextmanager
def serve_hub(repositories):
    """A server that runs as long as the context; `log` holds `(file, bytes, commit)` of each download."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), StandIn)
    server.log, server.ranges, server.repositories = [], True, repositories
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def run_client(hub, folder, program, **variables):
    """The JSON that a program prints whose hub is the stand-in, or none at all where `hub` is None."""
    environment = {
        **os.environ,
        "HF_ENDPOINT": f"http://127.0.0.1:{hub.server_address[1] if hub else 9}",
        "HF_HOME": str(folder),
        "HF_HUB_DISABLE_XET": "1",
        "NO_PROXY": "127.0.0.1",
        **variables,
    }
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, cwd=folder)
    assert found.returncode == 0, found.stderr
    return json.loads(found.stdout)
