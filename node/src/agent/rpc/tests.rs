use super::*;
use crate::app::Kind;

fn error(line: &str) -> (i32, Id) {
    match parse(line.as_bytes()) {
        Err(Some(failure)) => (failure.code, failure.id),
        other => panic!("{line} gave {other:?}"),
    }
}

fn one() -> Id {
    Id::Number(1.into())
}

#[test]
fn what_is_not_json_is_a_parse_error() {
    for line in ["", "   ", "nonsense", "{", "{\"a\":}", "{} {}", "\u{0}", "{\"id\":1,}"] {
        assert_eq!(error(line), (PARSE_ERROR, Id::Null), "{line:?}");
    }
    assert!(matches!(parse(&[0xff, 0xfe, 0x00]), Err(Some(Failure { code: PARSE_ERROR, .. }))));
}

#[test]
fn what_is_not_a_request_is_invalid() {
    for line in [
        "[]",
        r#"[{"jsonrpc":"2.0","id":1,"method":"status"}]"#,
        "1",
        "null",
        "\"status\"",
        "{}",
        r#"{"jsonrpc":"2.0","id":[1],"method":"status"}"#,
        r#"{"jsonrpc":"2.0","id":true,"method":"status"}"#,
        r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"status"}"#,
    ] {
        assert_eq!(error(line), (INVALID_REQUEST, Id::Null), "{line}");
    }
    for line in [
        r#"{"id":1,"method":"status"}"#,
        r#"{"jsonrpc":"1.0","id":1,"method":"status"}"#,
        r#"{"jsonrpc":2.0,"id":1,"method":"status"}"#,
        r#"{"jsonrpc":"2.0","id":1}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":7}"#,
    ] {
        assert_eq!(error(line), (INVALID_REQUEST, one()), "{line}");
    }
}

#[test]
fn deep_nesting_is_harmless() {
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    assert_eq!(error(&deep).0, INVALID_REQUEST);
    assert_eq!(error(&format!("{{\"a\":{deep}}}")).0, INVALID_REQUEST);
    assert_eq!(
        error(&format!(r#"{{"params":{{"group":{deep}}},"jsonrpc":"2.0","id":1,"method":"group.show"}}"#)).0,
        INVALID_PARAMS
    );
    assert_eq!(
        error(&format!(r#"{{"jsonrpc":"2.0","id":1,"method":"group.show","params":{{"group":{deep}}}}}"#)).0,
        INVALID_PARAMS
    );
}

#[test]
fn unknown_methods_and_wrong_params_are_told_apart() {
    assert_eq!(error(r#"{"jsonrpc":"2.0","id":1,"method":"no.such"}"#), (METHOD_NOT_FOUND, one()));
    assert_eq!(error(r#"{"jsonrpc":"2.0","id":1,"method":"no.such","params":[]}"#), (METHOD_NOT_FOUND, one()));
    for line in [
        r#"{"jsonrpc":"2.0","id":1,"method":"status","params":[]}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"status","params":3}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"status","params":null}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"vault.create"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"vault.create","params":{"passphrase":5}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"group.show","params":{"group":"zz"}}"#,
    ] {
        assert_eq!(error(line), (INVALID_PARAMS, one()), "{line}");
    }
}

#[test]
fn params_may_be_absent_unknown_fields_and_any_order_are_fine() {
    let status = |id| Call { id, command: Command::Status {} };
    assert_eq!(parse(br#"{"jsonrpc":"2.0","id":1,"method":"status"}"#), Ok(status(Some(one()))));
    let line = r#"{"params":{"later":true},"x":0,"method":"status","id":"a","jsonrpc":"2.0"}"#;
    assert_eq!(parse(line.as_bytes()), Ok(status(Some(Id::Text("a".into())))));
    assert_eq!(parse(br#"{"jsonrpc":"2.0","id":null,"method":"status"}"#), Ok(status(Some(Id::Null))));
    let line = r#"{"jsonrpc":"2.0","id":1,"method":"group.create","params":
        {"name":"n","join":"open","persona":{"name":"A","colour":"red"},"shape":"round"}}"#;
    assert!(matches!(
        parse(line.as_bytes()),
        Ok(Call { command: Command::GroupCreate { persona: Some(choice), .. }, .. }) if choice.name.as_deref() == Some("A")
    ));
}

#[test]
fn notifications_get_no_reply_unless_they_are_no_requests_at_all() {
    assert_eq!(parse(br#"{"jsonrpc":"2.0","method":"status"}"#), Ok(Call { id: None, command: Command::Status {} }));
    assert_eq!(parse(br#"{"jsonrpc":"2.0","method":"no.such"}"#), Err(None));
    assert_eq!(parse(br#"{"jsonrpc":"2.0","method":"group.show","params":{}}"#), Err(None));
}

#[test]
fn every_method_of_the_list_is_a_command_and_errors_repeat_nothing() {
    for method in Command::METHODS {
        let line = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{}}}}"#);
        match parse(line.as_bytes()) {
            Ok(_) => {}
            Err(Some(failure)) => {
                assert_eq!(failure.code, INVALID_PARAMS, "{method}");
                assert!(failure.message.starts_with("invalid params: missing field"), "{method}: {}", failure.message);
            }
            Err(None) => panic!("{method} has an id"),
        }
    }
    for params in [r#"{"group":"a secret, expected nowhere"}"#, r#"{"group":"secret"}"#, r#"{"group":["secret"]}"#] {
        let line = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"group.show","params":{params}}}"#);
        let Err(Some(failure)) = parse(line.as_bytes()) else { panic!("{params}") };
        assert!(!failure.message.contains("secret"), "{}", failure.message);
    }
    let line = r#"{"jsonrpc":"2.0","id":1,"method":"group.create","params":{"name":"a","join":"secret"}}"#;
    let Err(Some(failure)) = parse(line.as_bytes()) else { panic!() };
    assert_eq!(failure.message, "invalid params: expected `open` or `knock`");
}

#[test]
fn replies_have_the_form_of_the_standard() {
    let text = |line: Option<Vec<u8>>| String::from_utf8(line.unwrap()).unwrap();
    assert_eq!(text(reply(&one(), &Ok(Answer::Done {}))), r#"{"jsonrpc":"2.0","id":1,"result":{}}"#);
    assert_eq!(
        text(reply(&Id::Text("x".into()), &Err(Refusal::new(Kind::NotFound, "no such group")))),
        r#"{"jsonrpc":"2.0","id":"x","error":{"code":-32000,"message":"no such group","data":{"kind":"not_found"}}}"#
    );
    assert_eq!(
        text(Failure::too_long().to_line()),
        r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"invalid request: the line is over 16 MiB"}}"#
    );
    let notice = Notice::Warning { text: "careful" };
    assert_eq!(
        text(notification(&notice)),
        r#"{"jsonrpc":"2.0","method":"event","params":{"type":"warning","text":"careful"}}"#
    );
}
