"""What a bake is given of secrets, and what is missing, by layer and id."""

from __future__ import annotations

import pytest

from buildsys.errors import InvalidInput
from buildsys.run.variables import secret_values
from tests.support.keyed import keyed
from tests.support.trees import tree

BASE = tree("stacks:\n  one: {layers: [system, fast]}\n")
DECLARED = "secrets: [{id: token, description: of a server}]\n"
MIRRORS = "RUN --mount=type=bind,from=mirrors,target=/run/mirrors"
FILES = {
    **BASE,
    "layers/system/layer.yaml": BASE["layers/system/layer.yaml"] + DECLARED,
    "layers/system/Dockerfile": f"FROM base\nARG PACKAGES\n{MIRRORS} --mount=type=secret,id=token,required=true true\n",
    "layers/tools/Dockerfile": f"FROM base\n{MIRRORS} --mount=type=secret,id=mirrors true\n",
}
PLAN, _ = keyed(FILES)
NODES = {node.recipe.layer: node for node in PLAN.nodes}
VALUE = {"BUILDSYS_SECRET_TOKEN": "x"}


def test_bake_gets_the_secrets_of_its_nodes_and_no_others() -> None:
    environ = {**VALUE, "BUILDSYS_SECRET_OTHER": "y", "BUILDSYS_SECRET_MIRRORS": ""}
    assert secret_values([NODES["system"]], environ) == VALUE
    assert secret_values([NODES["tools"]], environ) == {"BUILDSYS_SECRET_MIRRORS": ""}
    assert secret_values([NODES["fast"]], environ) == {}


@pytest.mark.parametrize("given", [{}, {"BUILDSYS_SECRET_TOKEN": ""}])
def test_secret_without_a_value_is_reported_at_its_declaration_with_three_ways(given: dict[str, str]) -> None:
    with pytest.raises(InvalidInput) as caught:
        secret_values(NODES.values(), given)
    (found,) = caught.value.diagnostics()
    assert found.message == "layer `system` (of a server) mounts the secret `token`, which has no value"
    assert found.location is not None
    assert found.location.file == "layers/system/layer.yaml"
    for way in ("BUILDSYS_SECRET_TOKEN", "buildsys.settings.yaml", "--secret id=token,src="):
        assert way in (found.hint or "")


def test_run_without_the_credentials_of_mirrors_is_reported_where_there_are_some() -> None:
    with pytest.raises(InvalidInput) as caught:
        secret_values(NODES.values(), {**VALUE, "BUILDSYS_SECRET_MIRRORS": "export http_proxy=x"})
    (found,) = caught.value.diagnostics()
    assert str(found.location) == "layers/system/Dockerfile:3:1"
    assert secret_values(NODES.values(), {**VALUE, "BUILDSYS_SECRET_MIRRORS": ""})
