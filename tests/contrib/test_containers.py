"""contrib/docker, contrib/compose and contrib/kubernetes: what they hold fits together, and what they run is run here.

`make lint-contrib` holds them against the schemas of their readers. There need be no container engine where the tests
run: the instructions of the Dockerfile are read, and its commands run, without one.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from jackfield._configuration import load
from jackfield._settings import ServerSettings
from tests.contrib.proxies import CONTRIB, LIMIT, free_port
from tests.support.client import connected
from tests.support.server import Server, environment, serving
from tests.support.waiting import until

DOCKERFILE = CONTRIB / "docker/Dockerfile"
COMPOSE: dict[str, Any] = yaml.safe_load((CONTRIB / "compose/compose.yaml").read_text(encoding="utf-8"))
KUBERNETES: list[dict[str, Any]] = list(
    yaml.safe_load_all((CONTRIB / "kubernetes/jackfield.yaml").read_text(encoding="utf-8"))
)
UNITS = {"s": 1.0, "m": 60.0}


def instructions() -> list[tuple[str, str]]:
    """Return the instructions of the Dockerfile, each with its argument on one line."""
    text = re.sub(r"^\s*#.*\n", "", DOCKERFILE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", " ", text).split("\n")
    return [(line.split()[0], line.partition(" ")[2].strip()) for line in lines if line.strip()]


def stage(number: int) -> list[tuple[str, str]]:
    """Return the instructions of a stage."""
    starts = [i for i, (word, _) in enumerate(instructions()) if word == "FROM"] + [None]
    return instructions()[starts[number] : starts[number + 1]]


def argument(word: str) -> str:
    """Return the argument of an instruction that the last stage has once."""
    [found] = [rest for instruction, rest in stage(1) if instruction == word]
    return found


def kind(name: str, called: str = "jackfield") -> dict[str, Any]:
    """Return the object of a kind."""
    [found] = [one for one in KUBERNETES if one["kind"] == name and one["metadata"]["name"] == called]
    return found


def server_settings(name: str) -> ServerSettings:
    """Return what a configuration says of the server."""
    return ServerSettings(**tomllib.loads(CONFIGURATIONS[name]).get("server", {}))


def duration(text: str) -> float:
    return float(text[:-1]) * UNITS[text[-1]]


POD = kind("Deployment")["spec"]["template"]
CONTAINER = POD["spec"]["containers"][0]
CONFIGURATIONS = {
    "docker": (CONTRIB / "docker/jackfield.toml").read_text(encoding="utf-8"),
    "compose": (CONTRIB / "compose/jackfield.toml").read_text(encoding="utf-8"),
    "kubernetes": kind("ConfigMap")["data"]["jackfield.toml"],
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_the_configurations_are_valid(name: str, tmp_path: Path) -> None:
    """The kernel takes them, and they list the plugins that may be imported."""
    (tmp_path / "jackfield.toml").write_text(CONFIGURATIONS[name], encoding="utf-8")
    settings = load(tmp_path / "jackfield.toml", {})
    assert settings.plugins.policy == "listed"


def test_who_stops_it_waits_long_enough() -> None:
    """For the calls that run, and then for the plugins."""
    for name in CONFIGURATIONS:
        server = server_settings(name)
        longest = server.drain_timeout + 2 * server.stop_timeout
        if name == "compose":
            assert duration(COMPOSE["services"]["jackfield"]["stop_grace_period"]) > longest
        elif name == "kubernetes":
            pre_stop = float(CONTAINER["lifecycle"]["preStop"]["exec"]["command"][1])
            assert POD["spec"]["terminationGracePeriodSeconds"] > longest + pre_stop
            startup = CONTAINER["startupProbe"]
            assert startup["periodSeconds"] * startup["failureThreshold"] > 2 * server.start_timeout


# The Dockerfile.


def test_the_image_is_built_in_two_stages_of_the_same_python() -> None:
    """What builds stays behind."""
    bases = [rest.split(" AS ") for word, rest in instructions() if word == "FROM"]
    assert [base[0] for base in bases] == ["python:3.14-slim"] * 2
    assert {word for word, _ in instructions()} == {
        *("FROM", "ENV", "WORKDIR", "COPY", "RUN", "USER", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT", "CMD")
    }


def test_the_image_runs_as_nobody_in_particular() -> None:
    """As a number, so that Kubernetes can tell that it is not root; everything else comes before."""
    assert argument("USER") == "10001:10001"
    words = [word for word, _ in stage(1)]
    assert set(words[words.index("USER") :]) & {"RUN", "COPY"} == set()
    assert POD["spec"]["securityContext"]["runAsUser"] == 10001
    assert argument("STOPSIGNAL") == "SIGTERM"


def test_the_ignored_files_leave_what_is_copied() -> None:
    """Nothing else is sent to the engine."""
    ignored = (CONTRIB / "docker/.dockerignore").read_text(encoding="utf-8").splitlines()
    kept = [line[1:] for line in ignored if line.startswith("!")]
    copied = [name for word, rest in instructions() if word == "COPY" and "--from" not in rest for name in rest.split()]
    assert ignored[1] == "*"
    assert {name.split("/")[0] for name in kept} == {"requirements.lock", "jackfield.toml", "wheels"}
    assert copied == ["requirements.lock", "wheels*/", "./", "jackfield.toml", "/etc/jackfield/jackfield.toml"]


@pytest.fixture(scope="module", name="container")
def _container(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """What the image runs, with its environment and configuration, on another port."""
    folder = tmp_path_factory.mktemp("container")
    assert json.loads(argument("ENTRYPOINT")) == ["jackfield"]
    command = json.loads(argument("CMD"))
    assert command[:1] == ["serve"]
    assert command[command.index("--port") + 1] == "8000"
    assert "JACKFIELD_CONFIG=/etc/jackfield/jackfield.toml" in argument("ENV")
    arguments = ["--host", command[command.index("--host") + 1], "--port", str(free_port())]
    with serving(folder, *arguments, config=CONFIGURATIONS["docker"]) as server:
        yield server


def health(port: str) -> int:
    """Run the image's HEALTHCHECK on another port, and return its status."""
    command = json.loads(argument("HEALTHCHECK").partition(" CMD ")[2])
    assert command[:2] == ["python", "-c"]
    assert "8000" in command[2]
    done = subprocess.run(
        [sys.executable, "-c", command[2].replace("8000", port)],
        timeout=LIMIT,
        check=False,
        capture_output=True,
        env={**environment(), "http_proxy": "http://127.0.0.1:1"},
    )
    return done.returncode


async def test_what_the_image_runs_is_healthy(container: Server) -> None:
    """It serves what its configuration lists, and HEALTHCHECK says so, whatever proxy the environment names."""
    port = container.url.rpartition(":")[2]
    async with connected(f"http://127.0.0.1:{port}") as client:
        assert await client.call("api.system.ping") == {"data": "pong"}
    states = {name: plugin["state"] for name, plugin in container.plugins.items()}
    assert [name for name, state in states.items() if state == "started"] == ["system"]
    assert health(port) == 0


def test_where_nobody_listens_it_is_not_healthy() -> None:
    """HEALTHCHECK fails."""
    assert health(str(free_port())) != 0


def run(command: list[str], folder: Path) -> None:
    """Run a command in an environment of no project."""
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def build_image(folder: Path, target: Path) -> None:
    """Do what README.md says, and then the Dockerfile's first stage, with another folder for /opt/jackfield."""
    wheels, root = folder / "wheels", CONTRIB.parent
    for package in ("kernel", "plugins/metrics", "plugins/ratelimit", "plugins/redis", "plugins/system"):
        run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(wheels)], root / package)
    uv = str(root / ".tools/bin/uv") if (root / ".tools/bin/uv").exists() else "uv"
    lock = ["pip", "compile", "--quiet", "--generate-hashes", "--no-emit-index-url", "--find-links", "wheels"]
    lock += ["--python", sys.executable, "--constraints", str(root / "requirements.lock")]
    run([uv, *lock, str(CONTRIB / "docker/requirements.in"), "-o", "requirements.lock"], folder)
    for wheel in wheels.iterdir():  # as COPY does
        wheel.rename(folder / wheel.name)
    [steps] = [rest for word, rest in stage(0) if word == "RUN"]
    for step in steps.split(" && "):
        words = shlex.split(step.replace("/opt/jackfield", str(target)))
        run([sys.executable if word == "python" else word for word in words], folder)


@pytest.mark.full
@pytest.mark.timeout(300)
async def test_the_image_installs_what_is_locked(tmp_path: Path) -> None:
    """The Dockerfile's own command installs the lock, with hashes and from wheels only, and what it installs serves."""
    (tmp_path / "build").mkdir()
    target = tmp_path / "installed"
    build_image(tmp_path / "build", target)
    assert not (target / "bin/pip").exists()
    with serving(tmp_path / "server", config=CONFIGURATIONS["docker"], python=target / "bin/python") as server:
        async with connected(server.url) as client:
            assert await client.call("api.system.ping") == {"data": "pong"}


# Compose.


def test_compose_gives_no_more_than_is_needed() -> None:
    """Read-only, no capabilities, no new privileges, bounded; Redis is reached by the server alone."""
    services = COMPOSE["services"]
    for service in services.values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["mem_limit"]
        assert service["pids_limit"]
        assert "privileged" not in service
    assert services["redis"]["networks"] == ["inside"]
    assert COMPOSE["networks"]["inside"] == {"internal": True}
    assert "ports" not in services["redis"]
    assert services["jackfield"]["depends_on"]["redis"]["condition"] == "service_healthy"
    assert all(port.startswith("127.0.0.1:") for port in services["jackfield"]["ports"])


def test_every_file_that_compose_names_is_there_or_told_of() -> None:
    """The reader makes the secrets and copies the image's files."""
    readme = (CONTRIB / "README.md").read_text(encoding="utf-8")
    assert (CONTRIB / "compose" / COMPOSE["configs"]["jackfield"]["file"]).is_file()
    for secret in COMPOSE["secrets"].values():
        assert secret["file"].removeprefix("./") in readme
    assert f"{COMPOSE['services']['jackfield']['build']['context']}/" in readme


def secrets(source: str) -> list[str]:
    """Return the names of the files with secrets, which the server is told where to find."""
    if source == "compose":
        service = COMPOSE["services"]["jackfield"]
        assert service["environment"]["JACKFIELD_SECRETS_DIR"] == "/run/secrets"
        return [secret["target"] for secret in service["secrets"]]
    [mount] = [m["mountPath"] for m in CONTAINER["volumeMounts"] if m["name"] == "secrets"]
    assert {"name": "JACKFIELD_SECRETS_DIR", "value": mount} in CONTAINER["env"]
    return list(kind("Secret")["stringData"])


@pytest.mark.parametrize("source", ["compose", "kubernetes"])
async def test_it_starts_with_its_secrets_and_what_the_image_installs(source: str, tmp_path: Path) -> None:
    """Each secret is a setting of a plugin that is listed and in the image; with Redis away the server serves, too."""
    (tmp_path / "secrets").mkdir()
    for name in secrets(source):
        (tmp_path / "secrets" / name).write_text("redis://:password@127.0.0.1:1/0", encoding="utf-8")
    env = {"JACKFIELD_SECRETS_DIR": str(tmp_path / "secrets"), "JACKFIELD_SERVER__ADMIN": ""}
    with serving(tmp_path / "server", config=CONFIGURATIONS[source], env=env) as server:
        started = {name for name, plugin in server.plugins.items() if plugin["state"] == "started"}
        assert started == set(load(tmp_path / "server/jackfield.toml", {}).plugins.enabled)
        installed = (CONTRIB / "docker/requirements.in").read_text(encoding="utf-8")
        assert all(name == "system" or f"jackfield-{name}" in installed for name in started)
        async with connected(server.url) as client:
            assert await client.call("api.system.ping") == {"data": "pong"}
        await until(lambda: "127.0.0.1:1" in server.log)  # the address came from the file


# Kubernetes.


def test_kubernetes_names_fit_together() -> None:
    """What selects finds the pods, ports have names that are there, and what is mounted exists."""
    labels = POD["metadata"]["labels"]
    for selector in (
        kind("Deployment")["spec"]["selector"]["matchLabels"],
        kind("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        kind("NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        kind("Service")["spec"]["selector"],
        kind("Service", "jackfield-admin")["spec"]["selector"],
    ):
        assert selector == labels
    ports = {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}
    server = server_settings("kubernetes")
    assert ports == {"http": server.port, "admin": int(server.admin.rpartition(":")[2])}
    for service in ("jackfield", "jackfield-admin"):
        assert {port["targetPort"] for port in kind("Service", service)["spec"]["ports"]} <= set(ports)
    assert {mount["name"] for mount in CONTAINER["volumeMounts"]} == {one["name"] for one in POD["spec"]["volumes"]}
    assert kind("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]["name"] == kind("Deployment")["metadata"]["name"]
    assert "replicas" not in kind("Deployment")["spec"]  # it would undo what the autoscaler decided


def test_kubernetes_probes_ask_for_the_right_thing() -> None:
    """A pod that is not ready is not killed for it; one that polls stays with its pod."""
    paths = {name: CONTAINER[name]["httpGet"]["path"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert paths == {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"}
    assert kind("Service")["spec"]["sessionAffinity"] == "ClientIP"


def test_kubernetes_pods_are_restricted() -> None:
    """As the standard `restricted` for pods asks, and with a file system that is read-only."""
    pod, container = POD["spec"]["securityContext"], CONTAINER["securityContext"]
    assert pod["runAsNonRoot"] is True
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert POD["spec"]["automountServiceAccountToken"] is False
    assert set(CONTAINER["resources"]["limits"]) == {"memory"}


def test_the_admin_listener_is_for_monitoring_alone() -> None:
    """The policy lets everybody come to the main port, and those of one namespace to the other."""
    main, admin = kind("NetworkPolicy")["spec"]["ingress"]
    assert main == {"ports": [{"protocol": "TCP", "port": 8000}]}
    assert admin["ports"] == [{"protocol": "TCP", "port": 9000}]
    assert admin["from"]
