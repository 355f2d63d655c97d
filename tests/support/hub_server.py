"""A small Hugging Face Hub over HTTP on this machine, for the unmodified `huggingface_hub`.

It keeps what was committed in memory, speaks the part of the REST API that publishing and loading a model need, and is
strict where the Hub is: writing needs a token, an LFS object is stored only under its own SHA-256, and a commit whose
LFS objects are not stored is refused whole. Learnt from the requests of huggingface_hub 1.33 and 2.4.

    with HubServer() as hub:
        subprocess.run(..., env=os.environ | hub.environment(home))
        hub.repositories["user/name"].commits
"""

import base64
import binascii
import hashlib
import json
import re
import socket
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import yaml

TOKEN = "token-that-writes"
READ_TOKEN = "token-that-reads"
ACCOUNT = {"type": "user", "name": "user", "orgs": [{"type": "org", "name": "lab"}]}
ROLES = {TOKEN: "write", READ_TOKEN: "read"}

# Larger files, and those of these kinds, are kept outside git, as the .gitattributes of every new repository say.
LFS_SUFFIXES = (".safetensors", ".png", ".parquet", ".bin")
LFS_BYTES = 1 << 20


@dataclass(frozen=True)
class StoredFile:
    content: bytes
    is_lfs: bool

    @property
    def oid(self) -> str:
        """The SHA-256 of an LFS object, or git's SHA-1 of a blob."""
        if self.is_lfs:
            return hashlib.sha256(self.content).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(self.content) + self.content).hexdigest()


@dataclass(frozen=True)
class Commit:
    title: str
    files: dict[str, StoredFile]

    @property
    def oid(self) -> str:
        content = json.dumps([self.title, {name: file.oid for name, file in sorted(self.files.items())}])
        return hashlib.sha1(content.encode()).hexdigest()


@dataclass
class Repository:
    """A model repository; its first commit is the Hub's own."""

    private: bool
    commits: list[Commit] = field(
        default_factory=lambda: [
            Commit("initial commit", {".gitattributes": StoredFile(b"*.safetensors filter=lfs\n", is_lfs=False)})
        ]
    )

    @property
    def published(self) -> list[Commit]:
        """The commits that somebody made."""
        return self.commits[1:]

    @property
    def head(self) -> Commit:
        return self.commits[-1]

    def at(self, revision: str) -> Commit:
        for commit in self.commits:
            if commit.oid == revision:
                return commit
        if revision != "main":
            raise RefusalError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return self.head


class RefusalError(Exception):
    """An answer that is no success: status, message, and the Hub's code for it."""

    def __init__(self, status: int, message: str, code: str | None = None, **content):
        super().__init__(message)
        self.status, self.message, self.code, self.content = status, message, code, content


class HubServer:
    """The server, on a free port of this machine, while the context lasts.

    Attributes:
        repositories: by their names, user/name.
        objects: LFS objects by their SHA-256.
        announced: SHA-256 of the objects that a writer has announced; others are not taken.
        requests: every request so far, as `POST /api/repos/create`.
        unknown: those of them that nothing here answers.
        faults: what to answer instead, by the start of a request: a status, or "drop" to hang up; a list is for
            the next requests, one after another.
    """

    def __init__(self):
        self.clear()
        self.lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"hub": self})
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._http.daemon_threads = True

    def clear(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.objects: dict[str, bytes] = {}
        self.announced: set[str] = set()
        self.requests: list[str] = []
        self.unknown: list[str] = []
        self.faults: dict[str, int | str | list[int | str]] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}"

    @property
    def storage_url(self) -> str:
        """Where LFS objects are: for a client another host, to which it must not send its token."""
        return f"http://localhost:{self._http.server_port}"

    def environment(self, home, token: str | None = TOKEN) -> dict[str, str]:
        """Variables for a process that shall believe that this is the Hub, and know nobody's caches or tokens."""
        mine = {
            "HF_ENDPOINT": self.url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "NO_PROXY": "127.0.0.1,localhost",
        }  # fmt: skip
        return mine | {"HF_TOKEN": token or ""}

    def __enter__(self):
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *error):
        self._http.shutdown()
        self._http.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self._answer()

    do_HEAD = do_POST = do_PUT = do_GET  # noqa: N815

    def log_message(self, *arguments):
        pass

    def _answer(self):
        path = unquote(urlsplit(self.path).path)
        request = f"{self.command} {path}"
        self.hub.requests.append(request)
        try:
            if "chunked" in self.headers.get("Transfer-Encoding", ""):
                raise RefusalError(501, "storage takes no chunked upload")
            self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            for start, fault in self.hub.faults.items():
                if isinstance(fault, list):  # of the next requests; then all is well
                    fault = fault.pop(0) if request.startswith(start) and fault else None
                if request.startswith(start) and fault is not None:
                    if fault == "drop":
                        self.connection.shutdown(socket.SHUT_RDWR)
                        self.close_connection = True
                        return
                    raise RefusalError(fault, "the test wants it so")
            for method, pattern, answer in _ROUTES:
                match = re.fullmatch(pattern, path)
                if match and (self.command == method or (method, self.command) == ("GET", "HEAD")):
                    answer(self, **match.groupdict())
                    return
            self.hub.unknown.append(request)
            raise RefusalError(404, f"nothing answers {request}")
        except RefusalError as refusal:
            headers = {"X-Error-Message": refusal.message}
            if refusal.code is not None:
                headers["X-Error-Code"] = refusal.code
            self._send(refusal.status, {"error": refusal.message, **refusal.content}, headers)

    def _send(self, status: int, content, headers=()):
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        fields = {"Content-Type": "application/json", "Content-Length": str(len(data)), **dict(headers)}
        for name, value in fields.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    # --- who asks, and for what ---------------------------------------------------------------------------------------

    def _role(self) -> str | None:
        return ROLES.get(self.headers.get("Authorization", "").removeprefix("Bearer "))

    def _account(self) -> dict:
        if self._role() is None:
            raise RefusalError(401, "Invalid credentials in Authorization header")
        return ACCOUNT | {"auth": {"type": "access_token", "accessToken": {"role": self._role()}}}

    def _writer(self, owner: str) -> None:
        if owner not in [self._account()["name"], *(group["name"] for group in ACCOUNT["orgs"])]:
            raise RefusalError(403, f"You don't have the rights to create a model under the namespace {owner!r}")
        if self._role() != "write":
            raise RefusalError(403, "this token may only read")

    def _repository(self, name: str, *, writes: bool = False) -> Repository:
        repository = self.hub.repositories.get(name)
        if repository is None or (repository.private and self._role() is None):
            raise RefusalError(404 if self._role() else 401, "Repository not found", "RepoNotFound")
        if writes:
            self._writer(name.split("/")[0])
        return repository

    def _refuse_token(self) -> None:
        if "Authorization" in self.headers:
            raise RefusalError(400, "the token of the Hub is not for the storage")

    # --- the API ------------------------------------------------------------------------------------------------------

    def who_am_i(self):
        self._send(200, self._account())

    def create_repository(self):
        wanted = json.loads(self.body)
        owner = wanted.get("organization") or self._account()["name"]
        self._writer(owner)
        name = f"{owner}/{wanted['name']}"
        with self.hub.lock:
            if name in self.hub.repositories:
                raise RefusalError(409, "You already created this model repo", url=f"{self.hub.url}/{name}")
            private = wanted.get("private") or wanted.get("visibility") == "private"
            self.hub.repositories[name] = Repository(private=bool(private))
        self._send(200, {"url": f"{self.hub.url}/{name}", "name": name, "id": name})

    def validate_card(self):
        match = re.match(r"---\n(.*?)\n---\n", json.loads(self.body)["content"], re.DOTALL)
        try:
            data = yaml.safe_load(match[1]) if match else {}
        except yaml.YAMLError as error:
            raise RefusalError(400, "Invalid metadata", errors=[{"message": str(error)}]) from None
        warnings = [] if data else [{"message": "empty or missing yaml metadata in repo card"}]
        self._send(200, {"errors": [], "warnings": warnings})

    def describe(self, name, revision="main"):
        repository = self._repository(name)
        commit = repository.at(revision or "main")
        siblings = [{"rfilename": path} for path in sorted(commit.files)]
        self._send(200, {
            "id": name, "modelId": name, "sha": commit.oid, "private": repository.private, "gated": False,
            "disabled": False, "tags": [], "downloads": 0, "likes": 0, "siblings": siblings,
        })  # fmt: skip

    def list_tree(self, name, revision):
        files = self._repository(name).at(revision).files
        entries = []
        for path, file in sorted(files.items()):
            entry = {"type": "file", "path": path, "size": len(file.content), "oid": file.oid}
            if file.is_lfs:
                entry["lfs"] = {"oid": file.oid, "size": len(file.content), "pointerSize": 130}
            entries.append(entry)
        self._send(200, entries)

    def choose_upload_modes(self, name, revision):
        there = self._repository(name, writes=True).at(revision).files
        files = []
        for file in json.loads(self.body)["files"]:
            is_lfs = file["path"].endswith(LFS_SUFFIXES) or file["size"] > LFS_BYTES
            answer = {"path": file["path"], "uploadMode": "lfs" if is_lfs else "regular", "shouldIgnore": False}
            if file["path"] in there:
                answer["oid"] = there[file["path"]].oid
            files.append(answer)
        self._send(200, {"files": files})

    def prepare_objects(self, name):
        self._repository(name, writes=True)
        objects = []
        for wanted in json.loads(self.body)["objects"]:
            answer = {"oid": wanted["oid"], "size": wanted["size"]}
            if wanted["oid"] not in self.hub.objects:
                self.hub.announced.add(wanted["oid"])
                store = {"href": f"{self.hub.storage_url}/lfs/{wanted['oid']}", "header": {}}
                answer["actions"] = {"upload": store, "verify": {"href": f"{self.hub.url}/{name}.git/info/lfs/verify"}}
            objects.append(answer)
        self._send(200, {"transfer": "basic", "objects": objects})

    def store_object(self, oid):
        self._refuse_token()
        if oid not in self.hub.announced:
            raise RefusalError(403, f"nobody who may write announced {oid}")
        if hashlib.sha256(self.body).hexdigest() != oid:
            raise RefusalError(400, f"the content is not that of {oid}")
        self.hub.objects[oid] = self.body
        self._send(200, {})

    def verify_object(self, name):
        self._repository(name, writes=True)
        wanted = json.loads(self.body)
        if len(self.hub.objects.get(wanted["oid"], b"")) != wanted["size"]:
            raise RefusalError(404, f"the object {wanted['oid']} is not stored, or of another size")
        self._send(200, {})

    def commit(self, name, revision):
        repository = self._repository(name, writes=True)
        header, *operations = (json.loads(line) for line in self.body.splitlines())
        if header["key"] != "header" or not operations:
            raise RefusalError(400, "a commit has a header and at least one operation")
        with self.hub.lock:
            files = dict(repository.at(revision).files)
            for operation in operations:
                self._apply(files, operation["key"], operation["value"])
            commit = Commit(header["value"]["summary"], files)
            repository.commits.append(commit)
        url = f"{self.hub.url}/{name}/commit/{commit.oid}"
        self._send(200, {"success": True, "commitUrl": url, "commitOid": commit.oid, "hookOutput": ""})

    def _apply(self, files, key, value):
        path = value["path"]
        if key == "file" and value["encoding"] == "base64":
            try:
                files[path] = StoredFile(base64.b64decode(value["content"], validate=True), is_lfs=False)
            except binascii.Error:
                raise RefusalError(400, f"{path} is not base64") from None
        elif key == "lfsFile" and value["algo"] == "sha256":
            if len(self.hub.objects.get(value["oid"], b"")) != value["size"]:
                raise RefusalError(400, f"{path} points to an object that was not uploaded")
            files[path] = StoredFile(self.hub.objects[value["oid"]], is_lfs=True)
        elif key == "deletedFile" and path in files:
            del files[path]
        else:
            raise RefusalError(400, f"{key} of {path} is not understood")

    # --- downloads ----------------------------------------------------------------------------------------------------

    def resolve(self, name, revision, path):
        commit = self._repository(name).at(revision)
        if path not in commit.files:
            headers = {"X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found"}
            self._send(404, {"error": "Entry not found"}, {**headers, "X-Repo-Commit": commit.oid})
            return
        file = commit.files[path]
        headers = {"X-Repo-Commit": commit.oid, "ETag": f'"{file.oid}"'}
        if file.is_lfs:
            headers |= {"X-Linked-Etag": f'"{file.oid}"', "X-Linked-Size": str(len(file.content))}
            self._send(302, b"", {**headers, "Location": f"{self.hub.storage_url}/lfs/{file.oid}"})
        else:
            self._send_part(file.content, headers)

    def load_object(self, oid):
        self._refuse_token()
        if oid not in self.hub.objects:
            raise RefusalError(404, f"there is no object {oid}")
        self._send_part(self.hub.objects[oid], {"ETag": f'"{oid}"'})

    def _send_part(self, content: bytes, headers: dict) -> None:
        headers = {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes", **headers}
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if wanted is None:
            self._send(200, content, headers)
            return
        first, last = int(wanted[1]), int(wanted[2] or len(content) - 1)
        if first >= len(content):
            raise RefusalError(416, "the range begins behind the end")
        last = min(last, len(content) - 1)
        headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
        self._send(206, content[first : last + 1], headers)


_NAME = r"(?P<name>[^/]+/[^/]+)"
_ROUTES = [
    ("GET", r"/api/whoami-v2", _Handler.who_am_i),
    ("POST", r"/api/repos/create", _Handler.create_repository),
    ("POST", r"/api/validate-yaml", _Handler.validate_card),
    ("GET", rf"/api/models/{_NAME}(?:/revision/(?P<revision>[^/]+))?", _Handler.describe),
    ("GET", rf"/api/models/{_NAME}/tree/(?P<revision>[^/]+)", _Handler.list_tree),
    ("POST", rf"/api/models/{_NAME}/preupload/(?P<revision>[^/]+)", _Handler.choose_upload_modes),
    ("POST", rf"/api/models/{_NAME}/commit/(?P<revision>[^/]+)", _Handler.commit),
    ("POST", rf"/{_NAME}\.git/info/lfs/objects/batch", _Handler.prepare_objects),
    ("POST", rf"/{_NAME}\.git/info/lfs/verify", _Handler.verify_object),
    ("PUT", r"/lfs/(?P<oid>[0-9a-f]{64})", _Handler.store_object),
    ("GET", r"/lfs/(?P<oid>[0-9a-f]{64})", _Handler.load_object),
    ("GET", r"/(?P<name>[^/]+(/[^/]+)?)/resolve/(?P<revision>[^/]+)/(?P<path>.+)", _Handler.resolve),
]
