"""Where a network runs and how precisely: device, mixed precision, batches, number of threads.

Half precision is used only where the hardware computes in it. On a CPU without the instructions bfloat16 is emulated,
21 times slower than float32 as measured on a Zen 3; on a Zen 4, which has them, it saves a tenth of the time and costs
accuracy (``docs/performance.md``). So a CPU always computes in float32 unless asked otherwise.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..errors import DeviceError

PRECISIONS = ("auto", "fp32", "fp16", "bf16")
_BATCH, _ROOMY_BYTES = 4, 6 << 30


@dataclass(frozen=True)
class Profile:
    """How image encoders run on a device.

    Attributes:
        dtype: reduced precision, or None for float32.
        batch: slices that are encoded together where several are at hand. A batch gains nothing on a CPU, where one
            slice already fills the caches, and costs memory.
    """

    dtype: torch.dtype | None
    batch: int

    @property
    def look_ahead(self) -> int:
        """Slices that are encoded together with the one that a walk asks for: what a batch has room for beside it."""
        return self.batch - 1


def choose_device(name: str = "auto") -> str:
    """Name of a device that works: ``cpu`` or ``cuda:N``.

    Args:
        name: ``auto`` (the first usable CUDA device, else the CPU), ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        DeviceError: ``device.unknown`` for another name; ``device.missing`` when the asked CUDA device is not there;
            ``device.unusable`` when it is there, but this PyTorch cannot compute on it.
    """
    wish = str(name).strip().lower()
    if wish == "cpu":
        return "cpu"
    if wish == "auto":
        for index in range(_cuda_count()):
            if _cuda_fault(index) is None:
                return f"cuda:{index}"
        return "cpu"
    index = _cuda_index(wish)
    count = _cuda_count()
    if index >= count:
        raise DeviceError(
            "device.missing",
            f"Device {wish!r} was asked for, but PyTorch {torch.__version__} sees {count} CUDA devices; "
            "use --device cpu (or auto), or install a CUDA build of PyTorch and the NVIDIA driver.",
        )
    fault = _cuda_fault(index)
    if fault is not None:
        raise DeviceError(
            "device.unusable",
            f"Device {wish!r} is there, but PyTorch {torch.__version__} cannot compute on it ({fault}); "
            "use --device cpu (or auto), or install a PyTorch build for this GPU and driver.",
        )
    return f"cuda:{index}"


def autocast_dtype(device: str, precision: str = "auto") -> torch.dtype | None:
    """Reduced-precision type in which a network may run on ``device``, or None for float32.

    Args:
        device: from :func:`choose_device`.
        precision: ``auto`` is bfloat16 on GPUs from compute capability 8.0, float16 on 7.x, float32 on older GPUs and
            on every CPU; ``fp32``, ``fp16``, ``bf16`` ask for one type.

    Raises:
        DeviceError: ``device.precision`` for an unknown precision or one that the hardware only emulates.
    """
    if precision not in PRECISIONS:
        raise DeviceError("device.precision", f"Precision must be one of {', '.join(PRECISIONS)}; got {precision!r}.")
    if precision == "fp32":
        return None
    can_half, can_bfloat = _reduced_precision(device)
    if precision == "auto":
        if device == "cpu":
            return None
        return torch.bfloat16 if can_bfloat else torch.float16 if can_half else None
    if not (can_half if precision == "fp16" else can_bfloat):
        raise DeviceError(
            "device.precision",
            f"{device} has no instructions for {precision} and would only emulate it, many times slower than fp32; "
            "use precision auto or fp32.",
        )
    return torch.float16 if precision == "fp16" else torch.bfloat16


def choose_profile(device: str, precision: str = "auto") -> Profile:
    """How image encoders should run on this hardware.

    Args:
        device: from :func:`choose_device`.
        precision: see :func:`autocast_dtype`, which also tells the errors.
    """
    dtype = autocast_dtype(device, precision)
    roomy = device != "cpu" and torch.cuda.get_device_properties(device).total_memory >= _ROOMY_BYTES
    return Profile(dtype, _BATCH if roomy else 1)


@contextlib.contextmanager
def autocast(device: str, dtype: torch.dtype | None) -> Iterator[None]:
    """Context in which a network computes in ``dtype`` on ``device``; plain float32 when ``dtype`` is None."""
    if dtype is None:
        yield
    else:
        with torch.autocast(torch.device(device).type, dtype=dtype):
            yield


def to_device(array: Any, device: str) -> torch.Tensor:
    """A numpy array or tensor of any float type as float32 tensor on ``device`` (features out of the cache)."""
    return torch.as_tensor(array).to(device=device, dtype=torch.float32)


def available_cpus() -> int:
    """CPUs that this process may use: the lowest of the machine's, the affinity mask's and the container's quota."""
    limits = [os.cpu_count() or 1]
    if hasattr(os, "sched_getaffinity"):
        limits.append(len(os.sched_getaffinity(0)))
    quota = _cgroup_quota()
    if quota is not None:
        limits.append(max(1, int(quota)))
    return max(1, min(limits))


def limit_threads(wanted: int | None = None) -> int:
    """Set PyTorch's thread count to what the process may really use; returns it.

    PyTorch counts the cores of the machine; in a container or batch job with fewer, threads would fight for them.

    Args:
        wanted: a lower number, or None. Never raises the count above PyTorch's own (``OMP_NUM_THREADS``).
    """
    count = min(torch.get_num_threads(), available_cpus())
    if wanted is not None:
        count = min(count, wanted)
    count = max(1, count)
    if count != torch.get_num_threads():
        torch.set_num_threads(count)
    return count


def describe_device(device: str) -> dict[str, Any]:
    """Facts about a device for reports: name, memory in bytes, default precision and batch, threads, TF32."""
    profile = choose_profile(device)
    facts: dict[str, Any] = {
        "device": device,
        "torch": torch.__version__,
        "precision": "float32" if profile.dtype is None else str(profile.dtype).removeprefix("torch."),
        "batch": profile.batch,
    }
    if device == "cpu":
        facts["threads"] = torch.get_num_threads()
    else:
        properties = torch.cuda.get_device_properties(device)
        facts["name"], facts["memory_bytes"] = properties.name, int(properties.total_memory)
        facts["tf32"] = bool(torch.backends.cuda.matmul.allow_tf32)
    return facts


def cpu_has_bf16() -> bool:
    """True if this CPU has bfloat16 arithmetic (AVX-512 BF16 or AMX); False when that cannot be found out."""
    probe = getattr(torch.cpu, "get_capabilities", None)
    flags = probe() if probe is not None else dict.fromkeys(_proc_flags(), True)
    return any(flags.get(name, False) for name in ("avx512_bf16", "amx_bf16"))


def _proc_flags() -> list[str]:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("flags"):
                return line.split(":", 1)[1].split()
    return []


def _reduced_precision(device: str) -> tuple[bool, bool]:
    """(float16, bfloat16) that the device computes natively."""
    if device == "cpu":
        return False, cpu_has_bf16()
    major, _ = torch.cuda.get_device_capability(device)
    return major >= 7, major >= 8


def _cuda_index(wish: str) -> int:
    kind, _, number = wish.partition(":")
    if kind != "cuda" or (":" in wish and not (number.isascii() and number.isdigit())):
        raise DeviceError("device.unknown", f"Device must be auto, cpu, cuda or cuda:N; got {wish!r}.")
    return int(number) if number else 0


def _cuda_count() -> int:
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def _cuda_fault(index: int) -> str | None:
    """Why nothing can be computed on a CUDA device (too old a driver, an architecture without kernels), or None."""
    try:
        value = float((torch.ones(2, device=f"cuda:{index}") * 2).sum().item())
    except (RuntimeError, AssertionError) as error:  # torch raises both for broken drivers
        return str(error).splitlines()[0]
    return None if value == 4.0 else "a sum came out wrong"


def _cgroup_quota(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> float | None:
    """CPUs granted by the container (cgroup v2 ``cpu.max`` of the own group and its parents, v1 ``cpu.cfs_*``)."""
    pairs = [_read(folder / "cpu.max").partition(" ")[::2] for folder in _cgroup_folders(root, own)]
    pairs.append((_read(root / "cpu" / "cpu.cfs_quota_us"), _read(root / "cpu" / "cpu.cfs_period_us")))
    quotas = [
        int(limit) / int(period)
        for limit, period in pairs
        if limit.isdigit() and period.isdigit() and int(period) > 0  # "max" and -1 mean no limit
    ]
    return min(quotas) if quotas else None


def _cgroup_folders(root: Path, own: Path) -> list[Path]:
    group = next((line[3:] for line in _read(own).splitlines() if line.startswith("0::/")), "/")
    parts = [part for part in group.split("/") if part and part != ".."]
    return [root.joinpath(*parts[:depth]) for depth in range(len(parts) + 1)]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
