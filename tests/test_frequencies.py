import sys

import numpy as np
import pytest
from transformers import BertTokenizerFast

from hf_finemix import InputError
from hf_finemix.frequencies import corpus, token_frequencies, vocabulary_rank, word_list


@pytest.fixture
def tokenizer(tiny_tokenizer):
    return tiny_tokenizer


def ids(tokenizer, *tokens):
    return tokenizer.convert_tokens_to_ids(list(tokens))


def test_vocabulary_rank_is_zipfs_law_without_the_special_tokens():
    counts = vocabulary_rank(6, special_ids=[0, 3])
    assert counts.tolist() == [6e7, 6e7, 3e7, 6e7, 2e7, 1.5e7]


def test_vocabulary_rank_needs_no_special_tokens_and_ignores_those_beyond_the_embedding():
    assert vocabulary_rank(3).tolist() == [6e7, 3e7, 2e7]
    assert vocabulary_rank(3, [5, -1]).tolist() == [6e7, 3e7, 2e7]


def test_special_tokens_are_never_rarer_than_others(tokenizer):
    counts = token_frequencies("vocabulary", tokenizer, len(tokenizer))
    assert (counts[tokenizer.all_special_ids] == counts.max()).all()
    assert np.all(np.diff(np.delete(counts, tokenizer.all_special_ids)) < 0)


def test_a_word_list_counts_every_piece_of_a_word(tokenizer):
    size = len(tokenizer)
    counts = word_list({"film": 1e-4, "films": 2e-5, "plots": 3e-6}, tokenizer, size)
    film, plot, plural, story = ids(tokenizer, "film", "plot", "##s", "story")
    assert counts[film] == pytest.approx(120_000)
    assert counts[plural] == pytest.approx(23_000)
    assert counts[plot] == pytest.approx(3_000)
    assert counts[story] == 0
    assert (counts[tokenizer.all_special_ids] == counts.max()).all()


def test_a_word_list_longer_than_one_batch_is_counted_whole(tokenizer):
    words = {f"film {number}": 1e-6 for number in range(2500)}
    assert word_list(words, tokenizer, len(tokenizer))[ids(tokenizer, "film")[0]] == pytest.approx(1000 * 2500)


def test_a_corpus_counts_its_tokens_over_several_batches(tokenizer):
    texts = ["the film films ,", "", "the plot"] * 700
    counts = corpus(iter(texts), tokenizer, len(tokenizer))
    expected = {"the": 1400, "film": 1400, "##s": 700, ",": 700, "plot": 700, "story": 0, "cf": 0}
    assert {token: int(counts[ids(tokenizer, token)[0]]) for token in expected} == expected
    assert (counts[tokenizer.all_special_ids] == 1400).all()


def test_a_corpus_without_text_counts_nothing(tokenizer):
    assert not corpus([], tokenizer, len(tokenizer)).any()


def test_texts_longer_than_the_model_allows_are_counted_whole(tokenizer):
    assert corpus(["film " * 500], tokenizer, len(tokenizer))[ids(tokenizer, "film")[0]] == 500


def test_tokens_without_a_row_in_the_embedding_are_left_out(tokenizer):
    size = ids(tokenizer, "film")[0] + 1
    counts = corpus(["film good ,"], tokenizer, size)
    assert len(counts) == size
    assert counts[-1] == 1
    assert len(word_list({"good": 1e-3}, tokenizer, size)) == size


def test_a_text_file_is_counted_line_by_line(tokenizer, tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text("the film\n\nthe plot , the film\n", encoding="utf-8")
    counts = token_frequencies(str(path), tokenizer, len(tokenizer))
    assert np.array_equal(counts, corpus(["the film", "the plot , the film"], tokenizer, len(tokenizer)))


@pytest.mark.parametrize("name", ["nowhere.txt", ".", "", "x" * 5000, "wordfrequency"])
def test_an_unknown_source_is_refused(name, tokenizer, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="`frequencies`"):
        token_frequencies(name, tokenizer, len(tokenizer))


@pytest.mark.parametrize("content", [b"", b"\n \n", b"caf\xe9 au lait\n", b"\xff\xfe\x00"])
def test_a_file_that_is_no_text_is_refused(content, tokenizer, tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"corpus\.txt"):
        token_frequencies(str(path), tokenizer, len(tokenizer))


def test_a_missing_wordfreq_package_names_the_way_to_get_it(tokenizer, monkeypatch):
    monkeypatch.setitem(sys.modules, "wordfreq", None)
    with pytest.raises(InputError, match=r"pip install hf-finemix\[wordfreq\]"):
        token_frequencies("wordfreq", tokenizer, len(tokenizer))


def test_wordfreq_makes_common_words_more_frequent(tokenizer, monkeypatch):
    class Wordfreq:
        @staticmethod
        def get_frequency_dict(language, wordlist):
            assert (language, wordlist) == ("en", "large")
            return {"the": 0.05, "film": 1e-4}

    monkeypatch.setitem(sys.modules, "wordfreq", Wordfreq)
    counts = token_frequencies("wordfreq", tokenizer, len(tokenizer))
    the, film, rare = ids(tokenizer, "the", "film", "cf")
    assert counts[the] > counts[film] > counts[rare] == 0


def test_punctuation_and_numbers_get_at_least_the_mean_of_a_word_list():
    tokenizer = BertTokenizerFast(
        vocab={t: i for i, t in enumerate(("[UNK]", "[PAD]", "film", "70s", "##.", "!", "cf"))}
    )
    counts = word_list({"film": 7e-6}, tokenizer, 7)
    film, number, piece, mark, rare = ids(tokenizer, "film", "70s", "##.", "!", "cf")
    assert counts[film] == pytest.approx(7000)
    assert counts[[number, piece, mark]].tolist() == pytest.approx([1000] * 3)
    assert counts[rare] == 0
