import logging

import pytest
from torch import nn

from flowercolor.errors import SettingError
from flowercolor.training.build_networks import ForwardPasses, compile_passes, compiler_errors


def test_what_a_compiler_says_is_one_line() -> None:
    error = type("InductorError", (RuntimeError,), {"__module__": "torch._inductor.exc"})
    match = r"^`compiled`: torch .* \(no g\+\+\); it needs a C\+\+ "
    with pytest.raises(SettingError, match=match), compiler_errors():
        raise error("An exception occurred:\nno g++\nat line 3")


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match=r"^two\nlines$"), compiler_errors():
        raise RuntimeError("two\nlines")


def test_compiling_for_a_cpu_does_not_warn_of_cuda() -> None:
    """As torch does at the first import where nvcc is and no GPU."""
    log = logging.getLogger("torch.utils.cpp_extension")
    log.setLevel(logging.WARNING)
    compile_passes(ForwardPasses(nn.Identity(), nn.Identity(), nn.Identity()))
    assert not log.isEnabledFor(logging.WARNING)
