#!/usr/bin/env python3
"""What is theirs stays theirs, and what a run is told wrong is said before it starts: outputs that are inputs, files of tokens
that nobody can tell, options without a meaning, weights that do not fit. The cases are of the kind of bad_input.py, whose model
they use: embed [16, 8], head [8, 16].
"""
import os
import struct
import sys

import numpy as np
from safetensors.numpy import save_file

import bad_input
from bad_input import LENGTH, RECIPE, ROWS, VOCABULARY, WIDTH, batches, case, compiling, external, model, numpy_helper, running, weights, with_recipe
from support import LLMC, LLMC_RUN, must

bad_input.CASES.clear()
TOKENS = with_recipe(("{ids: ids, labels: labels}", "{ids: tokens, labels: tokens.next}"))
PREDICTS = RECIPE + "predict: scores\n"


# --- outputs that are inputs

def is_read(what: str):
    return f"is {what}, which is read", "hint: give each output a name of its own; nothing was written"


@case("compile -o onto the model", 2, *is_read("the model itself"))
def _(folder):
    return [*compiling(folder)[:-1], folder / "model.onnx"]


@case("compile -o onto the recipe", 2, *is_read("the recipe"))
def _(folder):
    return [*compiling(folder)[:-1], folder / "recipe.yaml"]


@case("compile -o onto a link to the model", 2, *is_read("the model itself"))
def _(folder):
    command = compiling(folder)
    (folder / "m.plan").symlink_to(folder / "model.onnx")
    return command


@case("compile -o onto a hard link to the model", 2, *is_read("the model itself"))
def _(folder):
    command = compiling(folder)
    os.link(folder / "model.onnx", folder / "m.plan")
    return command


@case("compile -o onto external data", 2, *is_read("a data file of the model itself"))
def _(folder):
    (folder / "weights.bin").write_bytes(weights()["head"].tobytes())
    return [*compiling(folder, external("weights.bin"))[:-1], folder / "weights.bin"]


@case("compile -o onto the recipe's weights", 2, *is_read("a data file of the model itself"))
def _(folder):
    save_file(weights(), folder / "w.safetensors")
    return [*compiling(folder, recipe=RECIPE + "weights: w.safetensors\n")[:-1], folder / "w.safetensors"]


@case("IR onto the model", 2, *is_read("the model itself"))
def _(folder):
    return [*compiling(folder)[:-1], folder / "model.onnx", "--stop-after", "step"]


@case("levels dumped over the IR that is read", 2, *is_read("the model itself"))
def _(folder):
    must(*compiling(folder)[:-2], "--stop-after", "step", "--dump-levels", folder / "levels")
    return [LLMC, "compile", folder / "levels" / "2-step.mlir", "--start-from", "step", "-o", folder / "m.plan", "--dump-levels", folder / "levels"]


@case("interpret --metrics onto the data", 2, *is_read("--data"))
def _(folder):
    save_file(batches(), folder / "d.safetensors")
    return [LLMC, "interpret", *compiling(folder)[2:-2], "--data", folder / "d.safetensors", "--metrics", folder / "d.safetensors"]


def interpreting(folder, *more, data=None, recipe=RECIPE):
    save_file(data if data is not None else batches(), folder / "d.safetensors")
    return [LLMC, "interpret", *compiling(folder, recipe=recipe)[2:-2], *(more or ("--data", folder / "d.safetensors"))]


case("interpret tokens", 3, "input 'ids': the interpreter reads arrays of a safetensors file only", "data: {ids: ARRAY}")(
    lambda folder: interpreting(folder, recipe=TOKENS))
case("interpret without data", 2, "interpret needs a recipe (-r) and data (--data)")(lambda folder: interpreting(folder, "--steps", 1))
case("interpret more steps than arrays", 3, "d.safetensors has no array 'ids.4'")(lambda folder: interpreting(folder, "--steps", 5, "--data", folder / "d.safetensors"))
case("interpret arrays of another length", 3, "array 'ids.0' has another shape or type than the graph's input")(
    lambda folder: interpreting(folder, data=batches(shape=(ROWS, LENGTH + 1))))
case("interpret arrays of fewer samples", 3, "array 'ids.0' has another shape or type than the graph's input")(
    lambda folder: interpreting(folder, data=batches(shape=(ROWS - 1, LENGTH))))
case("interpret arrays of real numbers", 3, "array 'ids.0' has another shape or type than the graph's input")(
    lambda folder: interpreting(folder, data=batches(dtype=np.float32)))
case("interpret -1 steps", 2, "--steps needs a whole number from 0 on")(lambda folder: interpreting(folder, "--steps", -1, "--data", folder / "d.safetensors"))
for request in ("x:{}", "1", "1:", ":{}", "1.5:{}"):
    case(f"interpret --save-weights {request}", 2, "is not STEP:FILE")(
        lambda folder, request=request: interpreting(folder, "--data", folder / "d.safetensors", "--save-weights", request.format(folder / "w.safetensors")))


@case("interpret --metrics onto an old file", 2, "holds metrics of another run", "--overwrite")
def _(folder):
    save_file(batches(), folder / "d.safetensors")
    (folder / "m.jsonl").write_text("mine\n")
    return [LLMC, "interpret", *compiling(folder)[2:-2], "--data", folder / "d.safetensors", "--metrics", folder / "m.jsonl"]


def trained(folder):
    must(*running(folder, "--steps", 2, "--checkpoint", folder / "ck"))
    return folder / "ck" / "step-00000002"


@case("export into the checkpoint", 2, "lies in a checkpoint of")
def _(folder):
    return [LLMC, "export", folder / "ck", "--model", folder / "model.onnx", "-o", trained(folder) / "model.safetensors"]


def other_model(folder, **shapes):
    """Another model than that of the checkpoint: initializers of other names and shapes."""
    proto = model()
    for tensor in proto.graph.initializer:
        if tensor.name in shapes:
            name, dims = shapes[tensor.name]
            tensor.CopyFrom(bad_input.numpy_helper.from_array(np.zeros(dims, np.float32), name))
    for node in proto.graph.node:
        for i, name in enumerate(node.input):
            if name in shapes:
                node.input[i] = shapes[name][0]
    (folder / "other.onnx").write_bytes(proto.SerializeToString())
    return folder / "other.onnx"


@case("export into a model of other shapes", 3, "does not fit the model:\n  parameter 'head' has shape [8, 16] in the checkpoint, [8, 17] in the model\nhint: was it")
def _(folder):
    trained(folder)
    return [LLMC, "export", folder / "ck", "--model", other_model(folder, head=("head", (8, 17))), "-o", folder / "new.onnx"]


@case("export into a model of other names", 3, "does not fit the model:\n  parameter 'tail' is not in the checkpoint\n  parameter 'head' is not in the model\n")
def _(folder):
    trained(folder)
    return [LLMC, "export", folder / "ck", "--model", other_model(folder, head=("tail", (8, 16))), "-o", folder / "new.onnx"]


@case("export of no folder", 3, "model.onnx' is no folder", "name the folder that llmc-run --checkpoint wrote")
def _(folder):
    trained(folder)
    return [LLMC, "export", folder / "model.onnx", "--model", folder / "model.onnx", "-o", folder / "new.onnx"]


@case("export to another kind of file", 2, "new.pt' names neither a .onnx nor a .safetensors file")
def _(folder):
    trained(folder)
    return [LLMC, "export", folder / "ck", "--model", folder / "model.onnx", "-o", folder / "new.pt"]


@case("export into the checkpoint that is named itself", 2, "lies in a checkpoint of")
def _(folder):
    return [LLMC, "export", trained(folder), "--model", folder / "model.onnx", "-o", folder / "ck" / "step-00000002" / "new.onnx"]


@case("export onto the model", 2, *is_read("the model itself"))
def _(folder):
    trained(folder)
    return [LLMC, "export", folder / "ck", "--model", folder / "model.onnx", "-o", folder / "model.onnx"]


@case("export whose data file is the model's", 2, "the data of -o", *is_read("a data file of the model itself"))
def _(folder):
    (folder / "t.onnx.data").write_bytes(weights()["head"].tobytes())
    must(*compiling(folder, external("t.onnx.data")))
    save_file(batches(), folder / "data.safetensors")
    must(LLMC_RUN, folder / "m.plan", "--data", folder / "data.safetensors", "--steps", 2, "--checkpoint", folder / "ck")
    return [LLMC, "export", folder / "ck", "--model", folder / "model.onnx", "-o", folder / "t.onnx"]


def onto(name: str, what: str, *option):
    """A run whose option writes the file `name`, which it reads as `what`."""
    def prepare(folder):
        save_file(weights(), folder / "w.safetensors")
        command = running(folder, "--steps", 2, "--weights", folder / "w.safetensors")
        return [*command, *option[:-1], f"{option[-1]}{folder / name}"]
    case(f"{option[0]} onto {what}", 2, f"{option[0]} '", *is_read(what))(prepare)


for name, what in (("data.safetensors", "--data"), ("m.plan", "the plan"), ("model.onnx", "a file of the model"), ("w.safetensors", "--weights")):
    for option in (("--metrics", ""), ("--trace", ""), ("--profile", ""), ("--save-gradients", "1:")):
        onto(name, what, *option)
    onto(name, what, "--metrics", "")


def predicting(folder, *more):
    must(*compiling(folder, predictor(), PREDICTS))
    save_file(batches(), folder / "data.safetensors")
    return [LLMC_RUN, folder / "m.plan", *more]


def predictor():
    proto = model()
    proto.graph.output.append(bad_input.helper.make_tensor_value_info("scores", bad_input.TensorProto.FLOAT, [ROWS, LENGTH, VOCABULARY]))
    return proto


@case("--predict onto the data", 2, *is_read("--data"))
def _(folder):
    return predicting(folder, "--data", folder / "data.safetensors", "--predict", folder / "data.safetensors")


@case("--save-logits onto the plan", 2, *is_read("the plan"))
def _(folder):
    return predicting(folder, "--prompt", "ids:1,2", "--save-logits", folder / "m.plan")


@case("two outputs of one name", 2, "--metrics '", "is also what --trace names")
def _(folder):
    return running(folder, "--steps", 2, "--metrics", folder / "out", "--trace", folder / "out")


@case("metrics inside of a checkpoint", 2, "lies in a checkpoint of")
def _(folder):
    return running(folder, "--steps", 2, "--checkpoint", folder / "ck", "--metrics", folder / "ck" / "step-00000002" / "m.jsonl")


@case("a checkpoint folder that is the data", 2, "--checkpoint", *is_read("--data"))
def _(folder):
    return running(folder, "--steps", 2, "--checkpoint", folder / "data.safetensors")


@case("metrics onto the file of another run", 2, "holds metrics of another run", "--overwrite")
def _(folder):
    (folder / "m.jsonl").write_text('{"step": 1}\n')
    return running(folder, "--steps", 2, "--metrics", folder / "m.jsonl")


@case("metrics of a resumed run onto something else", 2, "holds other things than metrics")
def _(folder):
    trained(folder)
    (folder / "m.jsonl").write_text("my notes\n")
    return [LLMC_RUN, folder / "m.plan", "--data", folder / "data.safetensors", "--steps", 4, "--checkpoint", folder / "ck", "--resume", "--metrics", folder / "m.jsonl"]


@case("a trace that cannot be written, said before training", 3, "nowhere", "there is no folder")
def _(folder):
    return running(folder, "--steps", 1000000000, "--epochs", 1000000000, "--trace", folder / "nowhere" / "t.json")


for option in ("--trace", "--profile"):
    @case(f"{option} onto a folder, said before training", 3, "it is a folder")
    def _(folder, option=option):
        return running(folder, "--steps", 1000000000, "--epochs", 1000000000, option, folder)


@case("a folder for logs that is a file", 3, "cannot write", "it is no folder")
def _(folder):
    (folder / "logs").write_text("mine")
    return running(folder, "--steps", 2, "--log-folder", folder / "logs")


@case("a full disk for metrics", 3, "cannot write '/dev/full'", "No space left")
def _(folder):
    return running(folder, "--steps", 2, "--metrics", "/dev/full")


@case("a full disk for a trace", 3, "/dev/full", "No space left")
def _(folder):
    return running(folder, "--steps", 2, "--trace", "/dev/full")


def to_full(command):
    return ["bash", "-c", " ".join(f"'{part}'" for part in command) + " > /dev/full"]


@case("a full disk for stdout", 3, "cannot write to stdout", "No space left")
def _(folder):
    return to_full(running(folder))


@case("a full disk for what explain prints", 3, "cannot write to stdout", "No space left")
def _(folder):
    must(*compiling(folder))
    return to_full([LLMC, "explain", folder / "m.plan"])


# --- pipes are not waited for

def pipe(folder, name):
    os.mkfifo(folder / name)
    return folder / name


@case("a pipe as model", 3, "is a pipe, not a regular file")
def _(folder):
    command = compiling(folder)
    (folder / "model.onnx").unlink()
    pipe(folder, "model.onnx")
    return command


@case("a pipe as model, checked", 3, "is a pipe, not a regular file")
def _(folder):
    return [LLMC, "check", pipe(folder, "model.onnx")]


@case("a pipe as recipe", 3, "is a pipe, not a regular file")
def _(folder):
    command = compiling(folder)
    (folder / "recipe.yaml").unlink()
    pipe(folder, "recipe.yaml")
    return command


@case("a pipe as plan", 3, "not a regular file")
def _(folder):
    return [LLMC_RUN, pipe(folder, "m.plan"), "--data", folder / "x", "--steps", 1]


@case("a pipe as plan, explained", 3, "not a regular file")
def _(folder):
    return [LLMC, "explain", pipe(folder, "m.plan")]


@case("a pipe as data", 3, "is a pipe, not a regular file")
def _(folder):
    return [*running(folder)[:3], pipe(folder, "p.safetensors"), "--steps", 1]


@case("a pipe as weights", 3, "is a pipe, not a regular file")
def _(folder):
    return running(folder, "--steps", 1, "--weights", pipe(folder, "w.safetensors"))


# --- options

def option(*more, code: int = 2, texts=()):
    case(f"option {' '.join(str(part) for part in more)}", code, *texts)(lambda folder: running(folder, *more))


for name in ("--steps", "--epochs", "--eval-every", "--eval-batches", "--checkpoint-every", "--threads", "--ranks", "--generate"):
    for value in ("-1", "1.5", "99999999999999999999999", str(2**60), "many"):
        option(name, value, texts=(f"{name}: ", value))
for name in ("--epochs", "--eval-every", "--checkpoint-every", "--threads", "--generate"):
    option(name, "0", texts=(name,))
for value in ("-1", "nan", "inf", "1e400"):
    option("--steps", "2", "--set", f"lr={value}", texts=(f"lr={value}", "a number from 0 on"))
option("--steps", "2", "--set", "lr=1e39", texts=("lr", "F32"))
for value in ("0:x", "-1:x", "1", ":x", "1:", "99999999999999999999:x"):
    option("--steps", "2", "--save-gradients", value, texts=("STEP:FILE",))
option("--checkpoint-every", "2", texts=("--checkpoint-every needs --checkpoint DIR",))
option("--eval-every", "2", texts=("--eval-every needs --eval-data FILE",))
option("--overwrite", texts=("--overwrite needs --metrics FILE",))
option("--resume", texts=("--resume needs --checkpoint DIR",))
option("--prompt", "ids:1", texts=("--prompt TEXT needs --generate N",))
option("--deadline", "-1", texts=("--deadline",))
option("--temperature", "-1", texts=("--temperature",))


@case("held-out data that is never used", 2, "--eval-data needs --eval-every N")
def _(folder):
    return running(folder, "--steps", 2, "--eval-data", folder / "data.safetensors")


@case("--predict without data", 2, "--predict FILE needs --data")
def _(folder):
    return predicting(folder, "--predict", folder / "out.safetensors")


@case("--predict together with training", 2, "belong to training")
def _(folder):
    return predicting(folder, "--data", folder / "data.safetensors", "--predict", folder / "out.safetensors", "--steps", 2)


@case("--predict of a plan without it", 2, "no segment `predict`", "predict: OUTPUT")
def _(folder):
    return [*running(folder)[:4], "--predict", folder / "out.safetensors"]


@case("--predict of arrays of another shape", 3, "ids.0", "not [N, 8]")
def _(folder):
    command = predicting(folder, "--data", folder / "data.safetensors", "--predict", folder / "out.safetensors")
    save_file(batches(shape=(3, 5)), folder / "data.safetensors")
    return command


@case("--predict of ids beyond the vocabulary", 3, "ids.0", "outside [0, 16)")
def _(folder):
    command = predicting(folder, "--data", folder / "data.safetensors", "--predict", folder / "out.safetensors")
    save_file({"ids.0": np.full((2, LENGTH), 16)}, folder / "data.safetensors")
    return command


@case("more steps than arrays", 3, "the data lasts for 4 steps, 9 are to run", "--epochs 3")
def _(folder):
    return running(folder, "--steps", 9)


@case("a rate that ends in NaN", 17, "step ", "the learning rate (lr) was ", "--set lr=")
def _(folder):
    return running(folder, "--steps", 4, "--set", "lr=1e30")


@case("a rate that nothing holds", 3, "lr")
def _(folder):
    return compiling(folder, recipe=with_recipe(("lr: 1.0e-2", "lr: 1.0e39")))


@case("a plan larger than the machine", 5, "of memory here, the machine has", "micro")
def _(folder):
    inputs = [bad_input.helper.make_tensor_value_info(name, bad_input.TensorProto.INT64, [ROWS, 4096]) for name in ("ids", "labels")]
    must(*compiling(folder, model(inputs=inputs), with_recipe(("step: 4, micro: 2", f"step: {2**20}, micro: {2**20}"))))
    save_file(batches(), folder / "data.safetensors")
    return [LLMC_RUN, folder / "m.plan", "--data", folder / "data.safetensors", "--steps", 1]


for size in (2**31, 2**40, 2**62, 2**80):
    for text in (f"step: {size}, micro: 4", f"step: {size}, micro: {size}"):
        case(f"samples of a step: {text}", 3, "batch.step")(lambda folder, text=text: compiling(folder, recipe=with_recipe(("step: 4, micro: 2", text))))


# --- files of tokens

def tokens(name: str, content: bytes, argument: str | None = None):
    def prepare(folder):
        must(*compiling(folder, recipe=TOKENS))
        (folder / name).write_bytes(content)
        return [LLMC_RUN, folder / "m.plan", "--data", folder / (argument or name), "--steps", 2]
    return prepare


IDS = (np.arange(400) % VOCABULARY).astype(np.uint16)


def npy(array) -> bytes:
    import io
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


case("raw ids named .bin", 3, "llm.c's magic number", "train.bin:u16", "there is no meta.pkl beside it")(tokens("train.bin", IDS.tobytes() * 10))
case("a short .bin", 3, "too short for the header", "train.bin:u16")(tokens("train.bin", IDS.tobytes()[:100]))
case("an unknown ending", 3, "train.dat", "known are .u16", "train.dat:u16")(tokens("train.dat", IDS.tobytes()))
case("no ending", 3, "known are .u16")(tokens("train", IDS.tobytes()))
case("text for a model of 16 ids", 3, "t.txt", "vocabulary has 16 ids, and bytes are 256", "tokenizer")(tokens("t.txt", b"text" * 200))
case("text as bytes for a model of 16 ids", 3, "position 0", "id 116", "outside [0, 16)")(tokens("t.txt", b"text" * 200, "t.txt:bytes"))
case("an index of Megatron alone", 3, "t.bin", "not there")(tokens("t.idx", b"MMIDIDX\0\0" + bytes(40)))
case("numpy reals", 3, "'<f8'", "numpy.uint16")(tokens("t.npy", npy(IDS.astype(np.float64))))
case("numpy big-endian", 3, "'>u2'", "little-endian")(tokens("t.npy", npy(IDS.astype(">u2"))))
case("numpy columns first", 3, "column by column")(tokens("t.npy", npy(np.asfortranarray(IDS.reshape(20, 20)))))
case("numpy cut", 3, "its shape (400,)")(tokens("t.npy", npy(IDS)[:-2]))
case("ids cut in the middle", 3, "no multiple of 4")(tokens("t.u32", IDS.tobytes()[:-2]))
case("an id beyond the vocabulary at the very end", 3, "position 400", "id 16 for input 'ids'", "another tokenizer")(tokens("t.u16", IDS.tobytes() + struct.pack("<H", 16)))
case("negative ids", 3, "position 3", "id -1")(tokens("t.npy", npy(np.array([1, 2, 3, -1] * 50))))
case("an id in an array of the last step", 3, "ids.3", "id 99")(
    lambda folder: running(folder, "--steps", 1, data=batches() | {"ids.3": np.full((ROWS, LENGTH), 99)}))


# --- weights

def with_weights(save, recipe: str = RECIPE + "weights: w.safetensors\n", option: bool = False):
    def prepare(folder):
        save(folder)
        must(*compiling(folder, recipe=RECIPE if option else recipe))
        save_file(batches(), folder / "data.safetensors")
        return [LLMC_RUN, folder / "m.plan", "--data", folder / "data.safetensors", "--steps", 2, *(["--weights", folder / "w.safetensors"] if option else [])]
    return prepare


@case("the recipe's weights are not there", 3, "`weights` names", "w.safetensors", "recipe.yaml:6")
def _(folder):
    return compiling(folder, recipe=RECIPE + "weights: w.safetensors\n")


@case("the recipe's weights are elsewhere", 3, "does not lie in the model's folder", "--weights FILE")
def _(folder):
    (folder / "sub").mkdir()
    save_file(weights(), folder / "w.safetensors")
    command = compiling(folder / "sub", recipe=RECIPE + "weights: ../w.safetensors\n")
    return command


for option_too in (False, True):
    kind = "of --weights" if option_too else "of the recipe"
    case(f"weights {kind} lack names", 3, "parameter 'head' is missing", "parameter 'embed' is missing", "it also holds other")(
        with_weights(lambda folder: save_file({"other": np.zeros(3, np.float32)}, folder / "w.safetensors"), option=option_too))
    case(f"weights {kind} are transposed", 3, "'head'", "16x8, not 8x16", "it is transposed", "'embed'", "8x16, not 16x8")(
        with_weights(lambda folder: save_file({n: np.ascontiguousarray(v.T) for n, v in weights().items()}, folder / "w.safetensors"), option=option_too))
    case(f"weights {kind} are ambiguous", 3, "parameter 'head' may be 'model.head' or 'module.head'")(
        with_weights(lambda folder: save_file({"embed": weights()["embed"]} | {f"{p}.head": weights()["head"] for p in ("model", "module")}, folder / "w.safetensors"), option=option_too))
    case(f"weights {kind} are integers", 3, "'head'", "has type I32")(
        with_weights(lambda folder: save_file(weights() | {"head": np.zeros((WIDTH, VOCABULARY), np.int32)}, folder / "w.safetensors"), option=option_too))


@case("an index that lacks a file", 3, "2.safetensors", "not complete")
def _(folder):
    save_file({"embed": weights()["embed"]}, folder / "1.safetensors")
    (folder / "i.json").write_text('{"weight_map": {"embed": "1.safetensors", "head": "2.safetensors"}}')
    return running(folder, "--steps", 2, "--weights", folder / "i.json")


@case("an index that is none", 3, "weight_map")
def _(folder):
    (folder / "i.json").write_text("{}")
    return running(folder, "--steps", 2, "--weights", folder / "i.json")


@case("a pickle as weights", 3, "no safetensors file", "save_file")
def _(folder):
    (folder / "w.pt").write_bytes(b"PK")
    return running(folder, "--steps", 2, "--weights", folder / "w.pt")


@case("a model without values", 3, "head", "model.onnx.data", "does not exist", "give `weights`")
def _(folder):
    return compiling(folder, external("model.onnx.data", offset=0, length=WIDTH * VOCABULARY * 4))


if __name__ == "__main__":
    sys.exit(bad_input.main(sweep=False))
