"""The version is that of the programs, and a wheel is one for every Python: its libraries speak plain C."""
import os

from setuptools import Distribution, setup
from wheel.bdist_wheel import bdist_wheel


class Binary(Distribution):
    def has_ext_modules(self):
        return True


class Wheel(bdist_wheel):
    def get_tag(self):
        return "py3", "none", os.environ["BIRKHOFF_WHEEL_PLATFORM"]


setup(version=os.environ["BIRKHOFF_WHEEL_VERSION"], distclass=Binary, cmdclass={"bdist_wheel": Wheel})
