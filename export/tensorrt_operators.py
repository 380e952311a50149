"""The operators that the ONNX parser of TensorRT 10.3 imports, and the element types that each of them takes.

Source: ``docs/operators.md`` of onnx-tensorrt, branch 10.1-GA (commit 96e7811, "TensorRT 10.0 supports operators in
the inclusive range of opset 9 to opset 20"). According to its change log, 10.2 and 10.3 added no operator; 10.3 takes
the ``axes`` of Slice as a tensor. What came later (10.4: ``axes`` of Pad as a tensor, the three window functions; 10.5:
STFT) is left out, and so are operators that no longer exist in opset 18. InstanceNormalization has no BFLOAT16 here,
because its importer refuses it, and INT8 and FP8 are listed where they are made and consumed only.
"""

from __future__ import annotations

from onnx import TensorProto

MIN_OPSET, MAX_OPSET = 9, 20
MAX_RANK = 8  # nvinfer1::Dims::MAX_DIMS

_HALVES_AND_SINGLES = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16})
_FLOATS = _HALVES_AND_SINGLES | {TensorProto.BFLOAT16}
_NUMBERS = _FLOATS | {TensorProto.INT32, TensorProto.INT64}
_BOOL = frozenset({TensorProto.BOOL})
_ALL = _NUMBERS | _BOOL

TYPES = _ALL | {TensorProto.INT8, TensorProto.FLOAT8E4M3FN, TensorProto.INT4}
"""Types of values inside a network. INT8, FP8 and INT4 stand between a QuantizeLinear and a DequantizeLinear."""

_BY_TYPES: tuple[tuple[frozenset[int], str], ...] = (
    (_BOOL, "And Not Or Xor"),
    (_HALVES_AND_SINGLES, "DeformConv GridSample InstanceNormalization Mish RoiAlign"),
    (
        _FLOATS,
        "Acos Acosh Asin Asinh Atan Atanh AveragePool BatchNormalization Ceil Celu Clip Conv ConvTranspose Cos Cosh "
        "CumSum Dropout Einsum Elu Erf Exp Floor GRU Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool "
        "GroupNormalization HardSigmoid HardSwish Hardmax IsInf LRN LSTM LayerNormalization LeakyRelu Log LogSoftmax "
        "LpNormalization LpPool MatMul MaxPool MeanVarianceNormalization PRelu Pow QuantizeLinear RNN RandomNormal "
        "RandomNormalLike RandomUniform RandomUniformLike Reciprocal Resize Round Scan Selu Sigmoid Sin Sinh Softmax "
        "Softplus Softsign Sqrt Tan Tanh ThresholdedRelu",
    ),
    (
        _NUMBERS,
        "Abs Add ArgMax ArgMin DepthToSpace Div Equal Gelu Greater GreaterOrEqual IsNaN Less LessOrEqual Max Mean Min "
        "Mod Mul Neg Pad Range ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin "
        "ReduceProd ReduceSum ReduceSumSquare Relu ScatterElements ScatterND Shrink Sign SpaceToDepth Sub Sum TopK",
    ),
    (
        _ALL,
        "Concat Constant ConstantOfShape Expand EyeLike Flatten Gather GatherElements GatherND Identity If Loop OneHot "
        "Reshape ReverseSequence Shape Size Slice Split Squeeze Tile Transpose Trilu Unsqueeze Where",
    ),
    (_ALL | {TensorProto.UINT8}, "Cast CastLike"),
    (TYPES - _ALL, "DequantizeLinear"),
)

OPERATORS: dict[str, frozenset[int]] = {name: types for types, names in _BY_TYPES for name in names.split()}
"""Operator -> element types of what it computes on (not of its shapes and indices)."""

DATA_DEPENDENT = frozenset({"Compress", "NonMaxSuppression", "NonZero", "Unique"})
"""Operators whose output size depends on the values of their input. TensorRT 10.3 imports NonZero and
NonMaxSuppression, but a network with them needs an output allocator and cannot be captured in a CUDA graph."""

CONSTANT_INPUTS: dict[str, tuple[int, ...]] = {
    "CumSum": (1,),
    "Pad": (3,),
    "Squeeze": (1,),
    "Unsqueeze": (1,),
    "OneHot": (1,),
    **{name: (1,) for name in OPERATORS if name.startswith("Reduce")},
}
"""Operator -> positions of inputs whose values must be there when the graph is parsed."""

SHAPE_INPUTS: dict[str, tuple[int, ...]] = {
    "ConstantOfShape": (0,),
    "Expand": (1,),
    "OneHot": (1,),
    "Pad": (1,),
    "Range": (0, 1, 2),
    "Reshape": (1,),
    "Resize": (2, 3),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "Tile": (1,),
    "TopK": (1,),
    "Loop": (0, 1),
}
"""Operator -> positions of inputs whose values decide the size of the output."""

ONLY_SHAPE = ("Shape", "Size")
"""Operators whose output's values follow from the shape of their input."""

ATTRIBUTES: dict[tuple[str, str], tuple[object, ...]] = {
    ("AveragePool", "dilations"): (1,),
    ("BatchNormalization", "training_mode"): (0,),
    ("LSTM", "input_forget"): (0,),
    ("LSTM", "layout"): (0,),
    ("LpNormalization", "p"): (1, 2),
    ("LpPool", "dilations"): (1,),
    ("MaxPool", "dilations"): (1,),
    ("Pad", "mode"): ("constant", "reflect", "edge", "wrap"),
    ("Resize", "antialias"): (0,),
    ("Resize", "coordinate_transformation_mode"): (
        "half_pixel", "pytorch_half_pixel", "tf_half_pixel_for_nn", "asymmetric", "align_corners",
    ),
    ("Resize", "keep_aspect_ratio_policy"): ("stretch",),
    ("Resize", "mode"): ("nearest", "linear", "cubic"),
    ("ScatterND", "reduction"): (),
    ("TopK", "sorted"): (1,),
}  # fmt: skip
"""(operator, attribute) -> values that are imported."""

RANKS: dict[str, tuple[int, int]] = {
    "Conv": (3, 5),
    "ConvTranspose": (3, 5),
    "DepthToSpace": (4, 4),
    "Gemm": (2, 2),
    "GridSample": (4, 4),
    "InstanceNormalization": (3, MAX_RANK),
    "SpaceToDepth": (4, 4),
}
"""Operator -> (smallest, largest) rank of the first input."""
