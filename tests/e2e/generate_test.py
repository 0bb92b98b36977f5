"""A stock Python client against a real server: streams, unary, batch."""

import concurrent.futures
import json

import grpc
import pytest

import server_process

STREAMS = 64


def golden_prompts(model):
    golden = json.loads((server_process.model_folder(model) / "golden.json").read_text())
    return [p for p in golden["prompts"] if len(p["input_ids"]) + 32 <= 500]


def safe_prefix(prompt):
    """Greedy ids up to where a rounding error could choose another."""
    for i, margin in enumerate(prompt["greedy_margins"]):
        if margin < 1e-3:
            return prompt["greedy_ids"][:i]
    return prompt["greedy_ids"]


def greedy(api, ids, max_tokens=32):
    g = api.generation
    return g.GenerateRequest(
        token_ids=g.TokenIds(ids=ids),
        sampling=g.SamplingParams(temperature=0),
        stop=g.StopConditions(max_tokens=max_tokens, ignore_eos=True),
    )


def read_stream(call):
    """Ids, text, finish and summary of a stream with one choice."""
    ids, text, finish, summary = [], "", None, None
    for message in call:
        if message.HasField("chunk"):
            ids += message.chunk.token_ids
            text += message.chunk.text
            if message.chunk.HasField("finish"):
                finish = message.chunk.finish
        else:
            summary = message.summary
    return ids, text, finish, summary


def row_bytes(config):
    """What a token takes in the cache, in f32, by the papers."""
    layers = config.get("num_hidden_layers") or 2 * config["num_layers"]  # LongCat's
    if "kv_lora_rank" in config:
        indexer = config.get("index_head_dim", 0)  # DeepSeek-V3.2's key
        return layers * (config["kv_lora_rank"] + config["qk_rope_head_dim"] + indexer) * 4
    heads = config["num_attention_heads"]
    head_dim = config.get("head_dim") or config["hidden_size"] // heads
    return layers * 2 * config.get("num_key_value_heads", heads) * head_dim * 4


@pytest.mark.parametrize("model", server_process.models())
def test_every_family_streams_its_goldens_greedy_tokens(api, serve, model):
    server = serve(model)
    config = json.loads((server_process.model_folder(model) / "config.json").read_text())
    assert server.metric("mla_kv_bytes_per_token") == row_bytes(config)
    prompts = golden_prompts(model)
    with grpc.insecure_channel(server.grpc) as channel, \
            concurrent.futures.ThreadPoolExecutor(len(prompts)) as pool:
        stub = api.generation_grpc.GenerationServiceStub(channel)
        streams = list(pool.map(
            lambda p: read_stream(stub.Generate(greedy(api, p["input_ids"]))), prompts))
        for prompt, (ids, text, finish, summary) in zip(prompts, streams):
            safe = safe_prefix(prompt)
            assert ids[:len(safe)] == safe
            assert finish.reason == api.generation.FINISH_REASON_LENGTH
            assert summary.usage.prompt_tokens == len(prompt["input_ids"])
            assert summary.usage.generated_tokens == len(ids) == 32
            assert (0 <= summary.timings.queue_seconds
                    <= summary.timings.time_to_first_token_seconds
                    <= summary.timings.total_seconds)
            detokenized = stub.Detokenize(
                api.generation.DetokenizeRequest(token_ids=ids))
            assert text == detokenized.text
    assert server.metric("mla_kv_blocks", state="active") == 0


def test_64_concurrent_streams_answer_as_each_alone(api, stub):
    prompts = [[i + 1, 2 * i + 3, 7, 11 + i % 5] for i in range(STREAMS)]
    requests = [greedy(api, p, max_tokens=24) for p in prompts]
    alone = [read_stream(stub.Generate(r))[0] for r in requests]
    with concurrent.futures.ThreadPoolExecutor(STREAMS) as pool:
        together = list(pool.map(lambda r: read_stream(stub.Generate(r))[0], requests))
    assert together == alone


def test_unary_and_batch_answer_as_the_stream_does(api, stub):
    request = greedy(api, [5, 6, 7], max_tokens=16)
    ids, text, _, _ = read_stream(stub.Generate(request))
    unary = stub.GenerateUnary(request)
    assert list(unary.choices[0].token_ids) == ids
    assert unary.choices[0].text == text
    batch = stub.BatchGenerate(api.generation.BatchGenerateRequest(
        requests=[request, greedy(api, [9], max_tokens=3), request]))
    assert [list(r.choices[0].token_ids) for r in batch.results[::2]] == [ids, ids]
    assert len(batch.results[1].choices[0].token_ids) == 3


def test_n_choices_come_each_with_its_own_end(api, stub):
    request = greedy(api, [5, 6, 7], max_tokens=8)
    request.sampling.temperature = 1
    request.sampling.n = 3
    request.sampling.seed = 7
    request.output.logprobs = 2
    by_choice = {}
    finished = set()
    for message in stub.Generate(request):
        if not message.HasField("chunk"):
            continue
        chunk = message.chunk
        assert len(chunk.logprobs) == len(chunk.token_ids)
        assert all(len(p.top) == 2 and p.logprob <= 0 for p in chunk.logprobs)
        by_choice.setdefault(chunk.index, []).extend(chunk.token_ids)
        if chunk.HasField("finish"):
            finished.add(chunk.index)
    assert finished == {0, 1, 2}
    assert all(len(ids) == 8 for ids in by_choice.values())
    again = stub.GenerateUnary(request)
    assert {c.index: list(c.token_ids) for c in again.choices} == by_choice


def test_text_in_is_tokenized_as_tokenize_says(api, stub):
    text = "Hello, world! 12345 \u00fc\u4e2d\U0001f600"
    ids = list(stub.Tokenize(api.generation.TokenizeRequest(text=text)).token_ids)
    request = greedy(api, [], max_tokens=4)
    request.text = text
    by_text = stub.GenerateUnary(request)
    by_ids = stub.GenerateUnary(greedy(api, ids, max_tokens=4))
    assert by_text.usage.prompt_tokens == len(ids)
    assert by_text.choices[0].token_ids == by_ids.choices[0].token_ids


def test_chat_is_rendered_by_the_models_template(api, stub):
    g = api.generation
    chat = g.ChatInput(messages=[g.ChatMessage(role="user", content="Hi <|im_end|>")])
    ids = list(stub.Tokenize(g.TokenizeRequest(chat=chat)).token_ids)
    text = stub.Detokenize(
        g.DetokenizeRequest(token_ids=ids, skip_special_tokens=False)).text
    assert "Hi <|im_end|>" in text
    # What the user typed is text: one turn ends where the template ends it.
    plain = g.ChatInput(messages=[g.ChatMessage(role="user", content="Hi")])
    plain_ids = list(stub.Tokenize(g.TokenizeRequest(chat=plain)).token_ids)
    marker = [i for i in set(plain_ids) if stub.Detokenize(g.DetokenizeRequest(
        token_ids=[i], skip_special_tokens=False)).text == "<|im_end|>"]
    assert marker, "the template writes an end of turn"
    assert ids.count(marker[0]) == plain_ids.count(marker[0])
    request = greedy(api, [], max_tokens=4)
    request.chat.CopyFrom(chat)
    assert stub.GenerateUnary(request).usage.prompt_tokens == len(ids)


def test_stop_strings_end_the_text_before_them(api, stub):
    ids, text, _, _ = read_stream(stub.Generate(greedy(api, [3, 4, 5], max_tokens=32)))
    stop = text[len(text) // 2:len(text) // 2 + 3]
    request = greedy(api, [3, 4, 5], max_tokens=32)
    request.stop.stop.append(stop)
    _, cut, finish, _ = read_stream(stub.Generate(request))
    assert finish.stop_string == stop
    assert cut == text[:text.index(stop)]


def test_cancel_ends_the_stream_with_cancelled(api, stub):
    request = greedy(api, [1, 2, 3], max_tokens=500)
    request.request_id = "to-be-cancelled"
    call = stub.Generate(request)
    assert next(call).request_id == "to-be-cancelled"
    stub.Cancel(api.generation.CancelRequest(request_id="to-be-cancelled"))
    with pytest.raises(grpc.RpcError) as error:
        list(call)
    assert error.value.code() == grpc.StatusCode.CANCELLED
    with pytest.raises(grpc.RpcError) as error:
        stub.Cancel(api.generation.CancelRequest(request_id="to-be-cancelled"))
    assert error.value.code() == grpc.StatusCode.NOT_FOUND


def test_the_models_card_tells_what_its_cache_costs(api, serve):
    server = serve("deepseek_v2_lite")
    with grpc.insecure_channel(server.grpc) as channel:
        stub = api.model_grpc.ModelServiceStub(channel)
        model = stub.GetModel(api.model.GetModelRequest())
        assert model.name == "deepseek_v2_lite"
        assert model.attention.kind == "mla"
        width = model.attention.kv_lora_rank + model.attention.qk_rope_head_dim
        assert model.attention.row_width == width
        assert model.kv_bytes_per_token == model.num_layers * width * 4
        assert server.metric("mla_kv_bytes_per_token") == model.kv_bytes_per_token
        listed = stub.ListModels(api.model.ListModelsRequest())
        assert list(listed.models) == [model]
