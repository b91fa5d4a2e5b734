//! Values in upstream's format that another implementation made: AES by Python's `cryptography`, XSalsa20 written in Python
//! from its paper (checked with NaCl's own test vector) with Poly1305 by `cryptography`. Keys are the bytes 0, 1, 2, ...

/// Where the values stand.
pub(super) const PLACE: &str = "/registry/secrets/default/s";
/// What they say.
pub(super) const PLAIN: &str = r#"{"apiVersion":"v1","data":{"k":"dg=="},"kind":"Secret","metadata":{"creationTimestamp":"2026-01-01T00:00:00Z","name":"s","namespace":"default","uid":"u"},"type":"Opaque"}"#;
/// Provider, bytes of the key, and the stored value in base64.
pub(super) const STORED: &[(&str, usize, &str)] = &[
    (
        "aesgcm",
        16,
        "azhzOmVuYzphZXNnY206djE6azE2OmRlZmdoaWprbG1ub2FAL9WyVN2I6Fc4fqTwCZoBqlTd9sipO9ZVyrXX0M3R3ptvGallC7PhMUkir7hmVL7+bxbpJG0Krut1PKj/EQFGoGkvz8X361POUbxmglwXpcZDd8THAqYILHedyG+nd1J4NV2+76kDp+HCujCF1CBml/857TFwwUAA4d6LRzkH9EDkcJ3/CNxIdw1ofCEZDq7Do9v4VU9+tjbN21VyRnbGOdDzMfmdo+93gs1xbhIHTl9juwfx4oCYkw==",
    ),
    (
        "aesgcm",
        24,
        "azhzOmVuYzphZXNnY206djE6azI0OmRlZmdoaWprbG1ub5JK2gw7+WtKoLiNb9jIucjse3LonugFjqN5M+jdTKJiPjM6onpoaJIV+g3VDjgCvwUNXD31L44/1PQibvcApVHIAsYyHuHoGsZqHnwhUuV8dvTd6Qa7WmvRqfnZX4c6qLAID7AoLi656yqon0kRXEjTsUC5cdKy3UZzRSmHH9f7lurhL9+W7uDYKJCHXs3brZYxssIL9gVdLHLdPOeHAi1JuJU+0vvXMKShmBVjCcO8TC2RfYKhTa3Kfw==",
    ),
    (
        "aesgcm",
        32,
        "azhzOmVuYzphZXNnY206djE6azMyOmRlZmdoaWprbG1ubzM5vxYQvzPsTQswhvhfSItz4Coo7w2HE4Xr12qQgZ9q8I59/W5vtyaWmhZb33jonH446oJUaG0Kl5TYt4vg0esqtqAstTleZP8Ggi1F41yDFwx+Wdfnt+TtwQTyViN/fL5Axk5bd4hOicrun4AhmoZDRuU9+1vKFp5b/dC30Xu3U/z9ilMQJk6vKCNp/aJwoOOumWRqafOwTL1cOZlhwNiqE2gs8a2UhUklRyuGAE0PnCHSQIR965lt0w==",
    ),
    (
        "aescbc",
        16,
        "azhzOmVuYzphZXNjYmM6djE6azE2OjIzNDU2Nzg5Ojs8PT4/QEEgqIeunp2v5kiDJApaebBlDl2OO4B2GVqN/Az72z9adihjAwxpkr+KMvGrRTbexh7BcQ0BhoDHW10RfTQg2HdMnn5y8Mw4jTrAVUfEYMcQe8RbCn5X+yHBjaP9zrNGl3To2yidu56p5VrQofs34Etz6fEv+Qhd//I49UFcgM0PdFFZqpJYC1SDHkuNxG2haw8fbURS+3wBtAksZ8nHGK9VM+E0WDlhJL/2D56L7j7C9g==",
    ),
    (
        "aescbc",
        24,
        "azhzOmVuYzphZXNjYmM6djE6azI0OjIzNDU2Nzg5Ojs8PT4/QEFFdy8onR/9DeBNbdom+PjnKNiOhQPifuRXrqM5fra1T8d9JhlGnIHZVd+C3auSgfC+K2OnbRpeAbUSUFstrjLMBC/2cD8BblDNbBjZL7RINVD+dBdkhWL7fAWa2oo10vG2t/YX5vdO6ueAC2JVq1TxdiwUCtz71fp1FSbR7yCiuurrH1vmgt+klaXkMqhfJBCneaPXqrSgVPWw7AoIKsN09KQbqQ+OhFTUu5aqVkUTdw==",
    ),
    (
        "aescbc",
        32,
        "azhzOmVuYzphZXNjYmM6djE6azMyOjIzNDU2Nzg5Ojs8PT4/QEFQci1S5KiPKKzc7XBjpANeTbbz+Gj74TGLagO7r7frJSvHfU3EbwBNn7dwTAMver87lhwTAu5sK9csW8bcJ7UCKHsFMCBPt78fVesbS96VzMg21ybtWX/jb02xgjQIyb3odLnCnfNf9Vk9BojtvS7JifADhAYT0pVjmcRrlhyIgm2Ego7s976J5xzmk8dYkhmmCsckEgCGtjWfkhdJz+MgICBxc7mIE0JOn+ky20TzwQ==",
    ),
    (
        "secretbox",
        32,
        "azhzOmVuYzpzZWNyZXRib3g6djE6azMyOsjJysvMzc7P0NHS09TV1tfY2drb3N3e3/qMNTLOyN1CIsSdxxj6KRaBcA4FKWQ0sP6B7K2MB5151DGyt2fcUeBEHea84pEY1PvxiHbIpXevU0yCsuDpeeKs+5iDqwaX/3wAWOks25KkkuaEd/ldI3dM8novNNITzxjZbeat3dnqfgXhIvMLm77vfSED4c+gGeQW63VDAXiQ6HYqMDIMWtQfZ9U9n9/uHhSPdDlqsqgyI29Qk9RvEN2GVr24IVngmvDhE4fc+a1xveyMq5ewYCYMQw==",
    ),
];

/// What a server with a KMS plugin named `vault` stored, whose key is `key-1` and which seals by inverting bits ([`FLIP`]). The
/// first is sealed by a key that HKDF made of the seed (Python's `cryptography`), the second by the key itself.
pub(super) const BY_PLUGIN: [&str; 2] = [
    "azhzOmVuYzprbXM6djI6dmF1bHQ6CuYBZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp7fH1+f4CBgoPIycrLzM3Oz9DR0tMWRAQBTR6DcAR5JHJsFNFw9/1y72BAMoLA+rBhfNm+vJipT8RZ1kkYw5SXKyZI0EZfL79X9rBefsp0SmQ9OwOAU46Wa46XVQgMW6UJ1wqyJU83yRybNcItst7PST8898HN3Xnq0+lSH/kooXpclwsGqbnCkIyitIUoId5LtI43/nEtW112ypfG39wX1apXMjQT3rOiiY6GsApn2yf3450qjsUfVABeou52qCnJC59hbpjn/g/3uM6t8qUSBWtleS0xGiBaW1hZXl9cXVJTUFFWV1RVSktISU5PTE1CQ0BBRkdERSIYChN2ZXJzaW9uLmV4YW1wbGUuY29tEgExKAE=",
    "azhzOmVuYzprbXM6djI6dmF1bHQ6CsYBMjM0NTY3ODk6Ozw9vXmOsKxq5JEeboXoedfdjleRN6PtLNOK8yBwutwRoVBHZ/d2NZ4rjPplFLuGXMG+mpeViKbufBf3PsUzK0X6QOiOodxFGZlCrTsgW8B9oPnvIwb4QLpGCyVAIU6vHk5hMSfqqkyKp2vzyWQmUr23y6/kirt+QAazBQlqwTB+zXGOA2RbSQ3EQa2E1iakkkqV8Gzg8MZQ1/BFcHf4Tpi4rzuHohREVuLE3e8DOC5rDJbfX4bWdOiZ5A/yEgVrZXktMRogWltYWV5fXF1SU1BRVldUVUpLSElOT0xNQkNAQUZHREU=",
];
/// The bits that the plugin inverts.
pub(super) const FLIP: u8 = 0x5a;
