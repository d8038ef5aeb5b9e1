"""Which targets of a bake file pass a secret: those that mount it, and those that link to them."""

from __future__ import annotations

from buildsys.bake.secrets import secret_references, with_secrets
from buildsys.bake.targets import plan_definition, run_definition
from tests.support.keyed import keyed
from tests.support.trees import tree

REFERENCE = "id=token,env=BUILDSYS_SECRET_TOKEN"
BASE = tree("stacks:\n  one: {layers: [system, fast]}\n")
FILES = {
    **BASE,
    "layers/system/layer.yaml": f"{BASE['layers/system/layer.yaml']}secrets: [{{id: token, description: x}}]\n",
    "layers/system/Dockerfile": "FROM base\nARG PACKAGES\nRUN --mount=type=secret,id=token,required=true true\n",
}
PLAN, _ = keyed(FILES)


def test_node_passes_a_reference_and_so_does_what_links_to_it_and_nothing_else() -> None:
    found = {each.name: each.secret for each in plan_definition(PLAN).targets}
    assert {name for name, secret in found.items() if secret} == {"system-1", "one"}
    assert found["one"] == (REFERENCE,)


def test_target_that_takes_a_node_by_its_digest_passes_no_secret_of_it() -> None:
    nodes = {node.name: "r.example.com/nodes@sha256:" + "a" * 64 for node in PLAN.nodes}
    assert [each.secret for each in run_definition(PLAN, ["one"], nodes).targets] == [None, None]


def test_secrets_pass_through_links_of_links() -> None:
    targets = plan_definition(PLAN).targets
    again = with_secrets(with_secrets(targets))
    assert again == targets


def test_reference_names_a_variable_and_none_without_secrets() -> None:
    assert secret_references(["b.c", "a"]) == ("id=a,env=BUILDSYS_SECRET_A", "id=b.c,env=BUILDSYS_SECRET_B_C")
    assert secret_references([]) is None
