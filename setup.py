"""What `setup.cfg` cannot say: loops in C, which the package does without where no compiler is at hand."""

from setuptools import Extension, setup

FLAGS = ["-O3", "-fopenmp-simd", "-fno-math-errno"]  # or the square root would be a call
setup(
    ext_modules=[Extension("weightspace.nn.loops", ["weightspace/nn/loops.c"], extra_compile_args=FLAGS, optional=True)]
)
