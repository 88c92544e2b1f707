# SPDX-License-Identifier: Apache-2.0
"""Tags the wheel for this machine where it carries libmizan.so.1 (`make wheel` puts it there): any
Python 3, this platform. Everything else is in pyproject.toml."""

import os

from setuptools import Distribution, setup
from wheel.bdist_wheel import bdist_wheel

CARRIED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "mizan", "libmizan.so.1")


class Carrying(Distribution):
    def has_ext_modules(self):
        return os.path.exists(CARRIED)


class AnyPython(bdist_wheel):
    def get_tag(self):
        _, _, platform = super().get_tag()
        return "py3", "none", platform


setup(distclass=Carrying, cmdclass={"bdist_wheel": AnyPython})
