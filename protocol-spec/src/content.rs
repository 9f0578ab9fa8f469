//! MIMI content (draft-ietf-mimi-content): the body of what people write.
