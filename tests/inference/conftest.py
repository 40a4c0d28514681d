"""What is promised of coloring is promised of both ways to compute."""

import pytest

from tests.inference import helpers


@pytest.fixture(params=["torch", "onnxruntime"])
def backend(request: pytest.FixtureRequest) -> str:
    """The name of each backend in turn, which `helpers.as_backend` takes."""
    name: str = request.param
    helpers.backend = name
    return name
