"""What each system caches at one real size: 32 layers, hidden size 4096, 32 query
heads of 128, 8 KV heads, latents of 512 with a rope key of 64. Each entry is
config.json's fields and the papers' count of elements per token and layer."""

H, G, D, R, P = 32, 8, 128, 512, 64
LAYERS = 32

COMMON = dict(model_type="llama", hidden_size=H * D, intermediate_size=14336, num_hidden_layers=LAYERS,
              num_attention_heads=H, vocab_size=32000, max_position_embeddings=8192, rms_norm_eps=1e-5,
              hidden_act="silu", rope_theta=500000.0)
LATENT = dict(kv_lora_rank=R, qk_rope_head_dim=P, qk_nope_head_dim=D, v_head_dim=D, q_lora_rank=1536)
RANKS = [384, 640] * (LAYERS // 2)


def mha2mla(low_rank):
    return dict(partial_rope_version="high", rope_dim_for_mla=16, svd_init_method="joint", low_rank=low_rank)


ROWS = {
    "MHA": (dict(num_key_value_heads=H), 2 * H * D),
    "GQA": (dict(num_key_value_heads=G), 2 * G * D),
    "MQA": (dict(num_key_value_heads=1), 2 * D),
    "SQA": (dict(num_attention_heads=16, num_key_value_heads=4, head_dim=D), 2 * 4 * D),
    "EffKV": (dict(num_key_value_heads=G), 2 * G * D),
    "QCQA": (dict(num_key_value_heads=6, kv_head_of_query_head=[h % 6 for h in range(H)]), 2 * 6 * D),
    "KHA": (dict(num_key_value_heads=G, knocking_value_dim=256), 2 * G * D),
    "CLA": (dict(num_key_value_heads=G, kv_sharing_factor=2), 2 * G * D / 2),
    "MoAS": (dict(attention_type="moas", num_key_value_heads=G), 2 * D * (H + G + 1)),
    "MLA": (dict(model_type="deepseek_v3", n_routed_experts=0, **LATENT), R + P),
    "DeepSeek sparse attention": (
        dict(model_type="deepseek_v32", n_routed_experts=0, index_n_heads=64, index_head_dim=128,
             index_topk=2048, **LATENT), R + P + 128),
    "TransMLA, exact": (dict(num_key_value_heads=G), 2 * G * D),
    "TransMLA, exact with one latent": (
        dict(num_key_value_heads=G, transmla_single_latent=True), 2 * G * D),
    "TransMLA, compressed": (
        dict(model_type="deepseek_v3", n_routed_experts=0, qk_latent_layernorm=False, **LATENT), R + P),
    "CARE": (dict(LATENT, model_type="deepseek_v3", n_routed_experts=0, qk_latent_layernorm=False,
                  kv_lora_rank=RANKS), sum(RANKS) / LAYERS + P),
    "X-EcoMLA": (dict(LATENT, attention_type="mla", qk_latent_layernorm=False, kv_lora_rank=RANKS),
                 sum(RANKS) / LAYERS + P),
    "CLLA": (dict(model_type="deepseek_v3", n_routed_experts=0, kv_sharing_factor=2, **LATENT), (R + P) / 2),
    "EG-MLA": (dict(model_type="deepseek_v3", n_routed_experts=0, attention_type="eg_mla",
                    gate_embedding_dim=64, **LATENT), R + P),
    "Hardware-centric MLA analysis": (dict(model_type="deepseek_v3", n_routed_experts=0, **LATENT), R + P),
    "MTLA": (dict(attention_type="mtla", down_rate=2, **LATENT), (R + P) / 2),
    "MHA2MLA": (dict(num_key_value_heads=G, mha2mla=mha2mla(32)), 32 * G + G * 16),
    "GLA-2": (dict(attention_type="gla_2", **LATENT), R + P),
    # On one rank; each of N has R / N + P.
    "TPLA": (dict(model_type="deepseek_v3", n_routed_experts=0, **LATENT), R + P),
    "MLRA": (dict(attention_type="mlra_4", **LATENT), R + P),
    "GTA": (dict(attention_type="gta", num_key_value_heads=G, head_dim=D), G * D + D // 2),
    "MFA": (dict(attention_type="mfa", share_q_dim=2048, head_dim=256), 2 * 256),
    "MFA-KR": (dict(attention_type="mfa_kr", share_q_dim=2048, head_dim=256), 256),
    "Tucker": (dict(attention_type="tucker", q_rank=512, k_rank=384, v_rank=384, head_dim=D), 384 + 384),
    "LoRC": (dict(attention_type="lorc", num_key_value_heads=G, k_rank=512, v_rank=512), 512 + 512),
    "LRKV": (dict(attention_type="lrkv", kv_residual_rank=16), 2 * D + 2 * H * 16),
}
