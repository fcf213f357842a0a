from setuptools import setup

setup(
    name="heartcare",
    version="0.1.0",
    description="HeartcareGPT: an ECG language model native to the Hugging Face ecosystem",
    license="Apache-2.0",
    python_requires=">=3.11",
    package_dir={"heartcare": "."},
    packages=["heartcare", "heartcare.agent"],
    install_requires=[
        "transformers>=5.23,<6",
        "torch>=2.6",
        "tokenizers",
        "safetensors",
        "huggingface_hub",
        "wfdb",
        "scipy",
        "pillow",
        "evaluate",
    ],
    extras_require={
        "train": ["accelerate", "peft", "tensorboard"],
        "test": ["accelerate", "peft", "tensorboard", "pyarrow", "pytest"],
    },
)
