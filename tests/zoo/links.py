"""Models that want to read or write outside their folder: links, paths, names with dots."""

import json
import os

from .animals import HANDLED, MODEL, REFUSED, animal


LINK, PATH = "link", "traversal"


def replace(cage, name, target):
    cage.path(name).unlink(missing_ok=True)
    os.symlink(target, cage.path(name))


@animal(LINK, REFUSED, "outside its folder")
def configuration_as_a_link(cage):
    """config.json is a link to a file of the user's"""
    replace(cage, "config.json", cage.secret)


@animal(LINK, REFUSED, "outside its folder")
def weights_as_a_link(cage):
    """the weights are a link to other weights of the user's"""
    replace(cage, "model.safetensors", cage.base / "model.safetensors")


@animal(LINK, REFUSED, "outside its folder")
def tokenizer_as_a_link(cage):
    """a file of the tokenizer is a link to a file of the user's, which would be copied into the output"""
    replace(cage, "special_tokens_map.json", cage.secret)


@animal(LINK, REFUSED, "outside its folder")
def card_as_a_relative_link(cage):
    """the card is a relative link that climbs out of the folder"""
    replace(cage, "README.md", "../secret.json")


@animal(LINK, REFUSED, "outside its folder")
def link_to_a_link(cage):
    """a link to a link in the folder that leads out of it"""
    os.symlink(cage.secret, cage.path("inner"))
    replace(cage, "tokenizer_config.json", "inner")


@animal(LINK, REFUSED, "cannot be read")
def loop_of_links(cage):
    """two links to each other"""
    os.symlink("config.json", cage.path("other"))
    replace(cage, "config.json", "other")


@animal(LINK, REFUSED, "outside its folder")
def link_to_an_endless_file(cage):
    """a link to a device that never ends"""
    replace(cage, "tokenizer.json", "/dev/zero")


@animal(LINK, REFUSED, "cannot be read")
def link_to_nothing(cage):
    """a link to a file that is not there"""
    replace(cage, "special_tokens_map.json", "gone.json")


@animal(LINK, REFUSED, "is no file")
def pipe_as_weights(cage):
    """a named pipe, which would be read forever"""
    cage.weights.unlink()
    os.mkfifo(cage.weights)


@animal(LINK, REFUSED, "is no file")
def folder_as_a_file(cage):
    """a folder under the name of a file"""
    cage.path("config.json").unlink()
    cage.path("config.json").mkdir()


@animal(LINK, REFUSED, "outside its folder")
def shard_as_a_link(cage):
    """a shard of a name of its own is a link to weights of the user's"""
    cage.index({"classifier.weight": "part.safetensors"})
    replace(cage, "part.safetensors", cage.base / "model.safetensors")


@animal(LINK, REFUSED, "outside its folder", MODEL[:1])
def template_as_a_link(cage):
    """a further chat template is a link to a file of the user's"""
    cage.path("additional_chat_templates").mkdir()
    replace(cage, "additional_chat_templates/notes.jinja", cage.secret)


@animal(LINK, REFUSED, "is a link", MODEL[:1])
def templates_as_a_link(cage):
    """the folder of chat templates is a link to a folder of the user's"""
    replace(cage, "additional_chat_templates", cage.base)


@animal(LINK, HANDLED, "hunter2")
def tokens_from_elsewhere(cage):
    """settings of the tokenizer name files of the user's, or links to such"""
    secret = str(cage.secret)
    settings = {"tokenizer_file": secret, "vocab_file": secret, "unk_token": "[UNK]"}
    cage.path("special_tokens_map.json").write_text(json.dumps(settings))
    replace(cage, "tokenizer.4.0.json", cage.secret)
    names = ["tokenizer.4.0.json", "../../secret.json"]
    cage.change("tokenizer_config.json", fast_tokenizer_files=names, init_inputs=[secret])


@animal(LINK, HANDLED, "elsewhere")
def link_that_nobody_reads(cage):
    """a link out of the folder under a name that nobody reads"""
    os.symlink(cage.secret, cage.path("elsewhere"))


@animal(PATH, REFUSED, "shards outside its folder")
def shard_above(cage):
    """the index names a shard in the folder above"""
    cage.index({"classifier.weight": "../base/model.safetensors"})


@animal(PATH, REFUSED, "shards outside its folder")
def shard_by_its_full_path(cage):
    """the index names a shard by an absolute path"""
    cage.index({"classifier.weight": str(cage.base / "model.safetensors")})


@animal(PATH, REFUSED, "lacks")
def shard_with_a_strange_name(cage):
    """the index names a shard with a line feed and an escape sequence in its name"""
    cage.index({"classifier.weight": "model\n\x1b[31m.safetensors"})


@animal(PATH, REFUSED, "names no shards")
def shard_that_is_no_name(cage):
    """the index holds numbers instead of names"""
    cage.index({"classifier.weight": 7})


@animal(PATH, REFUSED, "names a file of this machine", MODEL[:1])
def vocabulary_of_this_machine(cage):
    """tokenizer_config.json names a file of the user's as its vocabulary"""
    cage.change("tokenizer_config.json", vocab_file=str(cage.secret))


@animal(PATH, REFUSED, "no plain name", MODEL[:1])
def template_above(cage):
    """a chat template whose name is a path, under which it would be saved"""
    templates = [{"name": "../../template", "template": "x"}, {"name": "default", "template": "x"}]
    cage.change("tokenizer_config.json", chat_template=templates)


@animal(PATH, HANDLED, "/home/evil")
def paths_in_the_configuration(cage):
    """config.json holds paths of a stranger's machine"""
    cage.change(_name_or_path="/home/evil/model", vocab_file="/home/evil/vocab.txt", data_dir="/home/evil")
