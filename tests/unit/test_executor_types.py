"""The keys that executors on other machines and in containers have by themselves."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from taskman_cli.core.clock import SECOND_NS
from taskman_cli.core.schedule import load_zone
from taskman_cli.jobfile.executors import TYPES, read_executor
from taskman_cli.jobfile.problems import Rejected
from taskman_cli.jobfile.tables import table_shape
from taskman_cli.jobfile.values import Context
from taskman_cli.launch.accounts import Accounts

CONTEXT = Context(Path("/etc/taskman"), load_zone("UTC"), None, Accounts(is_run_here=False))


def read(type_: str, text: str) -> dict[str, Any]:
    return dict(read_executor("x", {"type": type_, **tomllib.loads(text)}, CONTEXT).settings)


def messages(type_: str, text: str) -> list[tuple[str, str]]:
    with pytest.raises(Rejected) as caught:
        read(type_, text)
    return [(".".join(map(str, fault.path)), fault.message) for fault in caught.value.faults]


GOOD = {
    "ssh": (
        'host = "web1.example.org"\nuser = "deploy"\noptions = { Port = 22, Compression = true, '
        'LogLevel = "ERROR" }\n'
        'connect_timeout = "5s"\nmultiplex = false\ndirectory = "x/y"\nprogram = "/opt/ssh"',
        {
            "host": "web1.example.org",
            "user": "deploy",
            "options": {"Port": "22", "Compression": "yes", "LogLevel": "ERROR"},
            "connect_timeout_ns": 5 * SECOND_NS,
            "multiplex": False,
            "directory": "x/y",
            "program": "/opt/ssh",
        },
    ),
    "container": (
        'image = "debian:12"\nengine = "podman"\nvolumes = ["data:/data", "./in:/in:ro", "a/b:/b"]\n'
        'network = "none"\n'
        'pull = "never"\nuser = "1:2"\nuse_entrypoint = true\nmemory = "500MiB"\ncpu = 1.5\nprocesses = 9\n'
        'create_timeout = "1m"\noptions = ["--gpus=all"]\n'
        'engine_options = ["--log-level", "error"]\nprogram = "p"',
        {
            "image": "debian:12",
            "engine": "podman",
            "volumes": ["data:/data", "/etc/taskman/in:/in:ro", "/etc/taskman/a/b:/b"],
            "network": "none",
            "pull": "never",
            "user": "1:2",
            "use_entrypoint": True,
            "memory": 500 << 20,
            "cpu": 1.5,
            "processes": 9,
            "create_timeout_ns": 60 * SECOND_NS,
            "options": ["--gpus=all"],
            "engine_options": ["--log-level", "error"],
            "program": "p",
        },
    ),
    "dask": (
        'address = "tls://[::1]:8786"\ntls = { ca = "ca.pem", cert = "/c.pem", key = "k.pem" }\n'
        'insecure = false\ndirect = false\nresources = ["gpu"]\norphan_after = "1m"\nconnect_timeout = "2s"',
        {
            "address": "tls://[::1]:8786",
            "tls": {"ca": "/etc/taskman/ca.pem", "cert": "/c.pem", "key": "/etc/taskman/k.pem"},
            "insecure": False,
            "direct": False,
            "resources": ["gpu"],
            "orphan_after_ns": 60 * SECOND_NS,
            "connect_timeout_ns": 2 * SECOND_NS,
        },
    ),
}


@pytest.mark.parametrize("type_", GOOD)
def test_all_keys_are_read_and_fit_the_schema(type_: str) -> None:
    text, settings = GOOD[type_]
    assert read(type_, text) == settings
    assert tomllib.loads(text).keys() == TYPES[type_].KEYS.keys()
    Draft202012Validator(table_shape(TYPES[type_].KEYS)).validate(tomllib.loads(text))


@pytest.mark.parametrize(
    ("type_", "text", "place", "words"),
    [
        ("ssh", "", "", "host is missing"),
        ("ssh", 'host = "-oProxyCommand=x"', "host", "is not a host"),
        ("ssh", 'host = "me@far"', "host", "write what is before the @ as user"),
        ("ssh", 'host = "far"\nuser = "-x"', "user", "is not the name of a user"),
        ("ssh", 'host = "far"\noptions = "Port=1"', "options", "write it as in { Port = 2222 }"),
        (
            "ssh",
            'host = "far"\noptions = { BatchMode = false }',
            "options.BatchMode",
            "taskman sets it by itself",
        ),
        ("ssh", 'host = "far"\noptions = { ControlPath = "x" }', "options.ControlPath", "multiplex"),
        ("ssh", 'host = "far"\noptions = { "-p" = 1 }', "options.-p", "not an option of ssh"),
        ("ssh", 'host = "far"\noptions = { Port = 1.5 }', "options.Port", "expected a string"),
        ("container", "", "", "image is missing"),
        ("container", 'image = "-v"', "image", "must not begin with -"),
        ("container", 'image = "a b"', "image", "blanks"),
        ("container", 'image = "a"\nengine = "docke"', "engine", 'did you mean "docker"'),
        ("container", 'image = "a"\nvolumes = ["x"]', "volumes.0", "is not a volume"),
        ("container", 'image = "a"\nvolumes = ["-x:/y"]', "volumes.0", "is not a volume"),
        ("container", 'image = "a"\nuser = "-1"', "user", "is not a user of a container"),
        ("container", 'image = "a"\ncpu = 0', "cpu", "out of range"),
        ("dask", "", "", "address is missing"),
        ("dask", 'address = "far:8786"', "address", "write it as in"),
        ("dask", 'address = "tls://far:99999"', "address", "write it as in"),
        ("dask", 'address = "tls://far:1"', "", "tls is missing"),
        ("dask", 'address = "tls://far:1"\ntls = "x"', "tls", "write it as in tls = { ca, cert, key }"),
        ("dask", 'address = "tcp://far:1"', "address", "set insecure = true"),
        (
            "dask",
            'address = "tcp://far:1"\ninsecure = true\nresources = ["a b"]',
            "resources.0",
            "not a valid",
        ),
        (
            "dask",
            'address = "tcp://far:1"\ninsecure = true\norphan_after = "5m"',
            "orphan_after",
            "must be shorter than lost_after",
        ),
        (
            "dask",
            'address = "tls://far:1"\ninsecure = true\ntls = { ca = "a", cert = "b", key = "c" }',
            "insecure",
            "leave it out",
        ),
    ],
)
def test_a_mistake_is_told_at_its_place(type_: str, text: str, place: str, words: str) -> None:
    [(where, message)] = messages(type_, text)
    assert where == place
    assert words in message
