"""Whatever a client sends gets a precise status, and the server lives on."""

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

METHOD = "/mla.serving.v1.GenerationService/"
INVALID = grpc.StatusCode.INVALID_ARGUMENT


def good(api):
    g = api.generation
    return g.GenerateRequest(
        token_ids=g.TokenIds(ids=[1, 2, 3]),
        sampling=g.SamplingParams(temperature=0),
        stop=g.StopConditions(max_tokens=2),
    )


def change(**fields):
    """A function that sets fields such as sampling__top_p."""

    def apply(request):
        for path, value in fields.items():
            *parents, name = path.split("__")
            target = request
            for parent in parents:
                target = getattr(target, parent)
            if isinstance(value, (list, tuple)):
                del getattr(target, name)[:]
                getattr(target, name).extend(value)
            elif isinstance(value, dict):
                getattr(target, name).update(value)
            else:
                setattr(target, name, value)

    return apply


def set_chat(**fields):
    def apply(request):
        request.chat.messages.add(role="user", content="hi")
        change(**{f"chat__{k}": v for k, v in fields.items()})(request)

    return apply


# what, how the good request is changed, the field that must be named, and a
# part of what must be said about it
CASES = [
    ("empty text", change(text=""), "text", "must not be empty"),
    ("no tokens", change(token_ids__ids=[]), "input", "at least one token"),
    ("no input", lambda r: r.ClearField("token_ids"), "input", "must be one of"),
    ("token id past the vocabulary", change(token_ids__ids=[1, 4_000_000_000]),
     "token_ids.ids[1]", "below 1200"),
    ("first id past the vocabulary", change(token_ids__ids=[1200]),
     "token_ids.ids[0]", "below 1200"),
    ("10 MB prompt", change(text="x" * 10_000_000), "text", "10000000 bytes"),
    ("too many tokens", change(token_ids__ids=[1] * 512), "input", "512 tokens"),
    ("10 million tokens", change(token_ids__ids=[1] * 10_000_000),
     "token_ids.ids", "10000000 tokens"),
    ("n = 10^9", change(sampling__n=10**9), "sampling.n", "[1, 64]"),
    ("n = 0", change(sampling__n=0), "sampling.n", "[1, 64]"),
    ("NaN temperature", change(sampling__temperature=float("nan")),
     "sampling.temperature", "nan"),
    ("infinite temperature", change(sampling__temperature=float("inf")),
     "sampling.temperature", "inf"),
    ("negative temperature", change(sampling__temperature=-1),
     "sampling.temperature", "-1"),
    ("top_p = 0", change(sampling__top_p=0), "sampling.top_p", "(0, 1]"),
    ("top_p = NaN", change(sampling__top_p=float("nan")), "sampling.top_p", "nan"),
    ("min_p = 2", change(sampling__min_p=2), "sampling.min_p", "[0, 1]"),
    ("top_k = 2^32 - 1", change(sampling__top_k=2**32 - 1), "sampling.top_k", ""),
    ("repetition_penalty = 0", change(sampling__repetition_penalty=0),
     "sampling.repetition_penalty", ""),
    ("presence_penalty = 3", change(sampling__presence_penalty=3),
     "sampling.presence_penalty", "[-2, 2]"),
    ("frequency_penalty = -inf", change(sampling__frequency_penalty=-float("inf")),
     "sampling.frequency_penalty", "-inf"),
    ("logit_bias of no token", change(sampling__logit_bias={1200: 1.0}),
     "sampling.logit_bias[1200]", "below 1200"),
    ("logit_bias = NaN", change(sampling__logit_bias={3: float("nan")}),
     "sampling.logit_bias[3]", "nan"),
    ("1025 logit biases",
     change(sampling__logit_bias={i: 1.0 for i in range(1025)}),
     "sampling.logit_bias", "1025 entries"),
    ("max_tokens = 0", change(stop__max_tokens=0), "stop.max_tokens", ""),
    ("max_tokens past the context", change(stop__max_tokens=510),
     "stop.max_tokens", "at most 509"),
    ("max_tokens = 2^32 - 1", change(stop__max_tokens=2**32 - 1),
     "stop.max_tokens", ""),
    ("min_tokens past max_tokens", change(stop__min_tokens=3),
     "stop.min_tokens", ""),
    ("17 stop strings", change(stop__stop=["x"] * 17), "stop.stop", "17 entries"),
    ("empty stop string", change(stop__stop=["a", ""]), "stop.stop[1]", "not 0"),
    ("long stop string", change(stop__stop=["x" * 257]), "stop.stop[0]", "not 257"),
    ("stop id of no token", change(stop__stop_token_ids=[2**31]),
     "stop.stop_token_ids[0]", "below 1200"),
    ("129 stop ids", change(stop__stop_token_ids=[1] * 129),
     "stop.stop_token_ids", "129 entries"),
    ("21 logprobs", change(output__logprobs=21), "output.logprobs", "[0, 20]"),
    ("request id with a newline", change(request_id="a\nb"), "request_id", "printable"),
    ("request id of 129 bytes", change(request_id="x" * 129), "request_id", "128"),
    ("chat without messages", lambda r: r.chat.SetInParent(), "chat.messages", ""),
    ("chat with broken JSON", set_chat(tools_json=["{"]), "chat.tools_json[0]", ""),
    ("chat with deep JSON", set_chat(tools_json=["[" * 1000]),
     "chat.tools_json[0]", ""),
    ("template arguments that are no object",
     set_chat(template_arguments_json="[1]"), "chat.template_arguments_json", "object"),
]


def details(error):
    """What the status's google.rpc details say: field -> description."""
    found = {}
    for any_ in rpc_status.from_call(error).details:
        bad_request = error_details_pb2.BadRequest()
        if any_.Unpack(bad_request):
            for violation in bad_request.field_violations:
                found[violation.field] = violation.description
    return found


def assert_serves(api, stub):
    assert len(stub.GenerateUnary(good(api)).choices[0].token_ids) == 2


@pytest.mark.parametrize("apply, field, said", [c[1:] for c in CASES],
                         ids=[c[0] for c in CASES])
def test_bad_fields_are_named(api, stub, apply, field, said):
    request = good(api)
    apply(request)
    for call in (lambda: list(stub.Generate(request)),
                 lambda: stub.GenerateUnary(request)):
        with pytest.raises(grpc.RpcError) as error:
            call()
        assert error.value.code() == INVALID
        assert said in details(error.value)[field]
    with pytest.raises(grpc.RpcError) as error:
        stub.BatchGenerate(api.generation.BatchGenerateRequest(
            requests=[good(api), request]), timeout=30)
    assert error.value.code() == INVALID
    assert f"requests[1].{field}" in details(error.value)
    assert_serves(api, stub)


def test_all_bad_fields_are_named_at_once(api, stub):
    request = good(api)
    change(sampling__top_p=2, sampling__n=0, output__logprobs=99)(request)
    with pytest.raises(grpc.RpcError) as error:
        stub.GenerateUnary(request)
    assert details(error.value).keys() == {
        "sampling.top_p", "sampling.n", "output.logprobs"}


def test_an_unknown_model_is_not_found(api, stub):
    request = good(api)
    request.model = "gpt-\u00fc" + "x" * 100_000
    with pytest.raises(grpc.RpcError) as error:
        list(stub.Generate(request))
    assert error.value.code() == grpc.StatusCode.NOT_FOUND
    assert "qwen2" in error.value.details()
    assert len(error.value.details()) < 1000
    (info,) = rpc_status.from_call(error.value).details
    reason = error_details_pb2.ErrorInfo()
    assert info.Unpack(reason) and reason.reason == "MODEL_NOT_FOUND"
    assert_serves(api, stub)


RAW = [
    ("bad UTF-8 text", b"\x1a\x03ab\xff", "text is not valid UTF-8 at byte 2"),
    ("bad UTF-8 in a chat", b"\x2a\x06\x0a\x04\x12\x02\xc0\x80",
     "chat.messages[0].content is not valid UTF-8 at byte 0"),
    ("no protobuf", b"\xff" * 100, "not a message of type"),
    ("a length past the end", b"\x1a\xff\xff\xff\xff\x07abc", "not a message of type"),
    ("a million submessages", b"\x2a\x80\x89\x7a" + b"\x0a\x00" * 1_000_000,
     "1000001 submessages"),
]


@pytest.mark.parametrize("data, said", [c[1:] for c in RAW], ids=[c[0] for c in RAW])
def test_bad_bytes_are_explained(api, channel, stub, data, said):
    stream = channel.unary_stream(METHOD + "Generate")
    unary = channel.unary_unary(METHOD + "GenerateUnary")
    for call in (lambda: list(stream(data)), lambda: unary(data)):
        with pytest.raises(grpc.RpcError) as error:
            call()
        assert error.value.code() == INVALID
        assert said in error.value.details()
    assert_serves(api, stub)


def test_a_message_past_the_wire_limit_is_refused(api, stub):
    request = good(api)
    request.text = "x" * (17 << 20)
    with pytest.raises(grpc.RpcError) as error:
        list(stub.Generate(request))
    assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "larger than max" in error.value.details()
    assert_serves(api, stub)


def test_a_deadline_that_has_passed_is_refused(api, stub):
    with pytest.raises(grpc.RpcError) as error:
        list(stub.Generate(good(api), timeout=-1))
    assert error.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert_serves(api, stub)


def test_a_deadline_ends_a_running_request(api, server, stub):
    request = good(api)
    request.stop.max_tokens = 500
    request.stop.ignore_eos = True
    request.sampling.n = 64  # more than 0.05 seconds are enough for
    before = server.metric("mla_requests_total", code="DEADLINE_EXCEEDED")
    with pytest.raises(grpc.RpcError) as error:
        list(stub.Generate(request, timeout=0.05))
    assert error.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert_serves(api, stub)
    assert server.metric("mla_requests_total", code="DEADLINE_EXCEEDED") == before + 1


def test_an_id_in_use_is_refused(api, stub):
    request = good(api)
    request.request_id = "twice"
    request.stop.max_tokens = 500
    request.stop.ignore_eos = True
    first = stub.Generate(request)
    next(first)
    with pytest.raises(grpc.RpcError) as error:
        list(stub.Generate(request))
    assert error.value.code() == grpc.StatusCode.ALREADY_EXISTS
    batch = api.generation.BatchGenerateRequest(requests=[good(api), request])
    with pytest.raises(grpc.RpcError) as error:
        stub.BatchGenerate(batch)
    assert error.value.code() == grpc.StatusCode.ALREADY_EXISTS
    assert next(first).chunk.token_ids, "the refusals did not touch the first"
    first.cancel()
    assert_serves(api, stub)


def test_refusals_are_counted_by_reason(api, server, stub):
    before = server.metric("mla_admission_rejections_total", reason="invalid")
    request = good(api)
    request.sampling.n = 0
    with pytest.raises(grpc.RpcError):
        list(stub.Generate(request))
    assert server.metric(
        "mla_admission_rejections_total", reason="invalid") == before + 1
