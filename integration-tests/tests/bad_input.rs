//! What bad input gets: a clear refusal of its kind, nothing lost, the process alive.

use std::{
    io::Write as _,
    net::TcpStream,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use hearth_integration_tests::{Lab, Member, PATIENCE, Relay, binary, listening, tap::Tap};
use serde_json::{Value, json};

const NOBODY: &str = "0707070707070707070707070707070707070707070707070707070707070707";

fn kind(member: &mut Member, method: &'static str, params: Value) -> Result<String> {
    let refused = member.refusal(method, params)?;
    assert_eq!(refused.code, -32_000, "{method}: {refused}");
    assert!(!refused.message.is_empty());
    refused.kind.with_context(|| format!("{method}: a refusal without kind"))
}

fn healthy(member: &mut Member) -> Result<()> {
    assert!(member.alive());
    let status = member.call("status", json!({}))?;
    assert_eq!(status["mode"], "direct");
    Ok(())
}

#[test]
fn the_vault_refuses_wrong_passphrases_and_whatever_comes_before_it() -> Result<()> {
    let lab = Lab::new()?;
    let mut ada = lab.newcomer("ada", &[])?;
    assert_eq!(kind(&mut ada, "group.list", json!({}))?, "locked");
    assert_eq!(kind(&mut ada, "vault.unlock", json!({"passphrase": "any"}))?, "not_found");
    ada.create_vault()?;
    assert_eq!(kind(&mut ada, "vault.create", json!({"passphrase": "again"}))?, "conflict");
    assert_eq!(kind(&mut ada, "vault.unlock", json!({"passphrase": "wrong"}))?, "bad_passphrase", "even when open");
    let group = ada.found("Still here", "Ada")?;
    ada.call("vault.lock", json!({}))?;
    assert_eq!(kind(&mut ada, "message.list", json!({"group": group}))?, "locked");
    assert_eq!(kind(&mut ada, "vault.unlock", json!({"passphrase": "wrong"}))?, "bad_passphrase");
    assert_eq!(kind(&mut ada, "vault.change_passphrase", json!({"old": "wrong", "new": "better"}))?, "bad_passphrase");
    ada.unlock()?;
    let old = ada.passphrase.clone();
    ada.call("vault.change_passphrase", json!({"old": old, "new": "a better one"}))?;
    ada.call("vault.lock", json!({}))?;
    assert_eq!(kind(&mut ada, "vault.unlock", json!({"passphrase": old}))?, "bad_passphrase");
    ada.passphrase = "a better one".into();
    ada.unlock()?;
    assert_eq!(ada.call("group.list", json!({}))?["groups"][0]["group"], group.as_str());
    healthy(&mut ada)
}

#[test]
fn unknown_ids_are_not_found() -> Result<()> {
    let lab = Lab::new()?;
    let mut ada = lab.member("ada", &[])?;
    let group = ada.found("Lost property", "Ada")?;
    let message = ada.say(&group, "here")?.message;
    for (method, params) in [
        ("group.show", json!({"group": NOBODY})),
        ("group.set", json!({"group": NOBODY, "charter": "x"})),
        ("group.leave", json!({"group": NOBODY})),
        ("invite.create", json!({"group": NOBODY})),
        ("invite.revoke", json!({"group": group, "invite": NOBODY})),
        ("member.remove", json!({"group": group, "persona": NOBODY, "reason": "x"})),
        ("member.set_role", json!({"group": group, "persona": NOBODY, "role": "member"})),
        ("message.send", json!({"group": NOBODY, "text": "x"})),
        ("message.list", json!({"group": NOBODY})),
        ("message.edit", json!({"group": group, "message": NOBODY, "text": "x"})),
        ("message.retract", json!({"group": group, "message": NOBODY})),
        ("message.react", json!({"group": group, "message": NOBODY, "reaction": "me_too", "on": true})),
        ("message.status", json!({"group": group, "message": NOBODY})),
        ("debug.tip", json!({"group": NOBODY})),
    ] {
        assert_eq!(kind(&mut ada, method, params)?, "not_found", "{method}");
    }
    assert_eq!(ada.messages(&group)?[0]["message"], message.as_str(), "nothing was lost");
    healthy(&mut ada)
}

#[test]
fn links_that_are_over_are_refused_with_their_reason() -> Result<()> {
    let lab = Lab::new()?;
    let relay = lab.relay("relay")?;
    let mut ada = lab.member("ada", &[relay.address()])?;
    let mut ben = lab.member("ben", &[])?;
    let mut cleo = lab.member("cleo", &[])?;
    let group = ada.found("Doors", "Ada")?;
    let link = |invite: &Value| invite["link"].as_str().unwrap_or_default().to_owned();
    let join = |link: &str| json!({"link": link, "accept_charter": true});

    // Mangled: each of these is seen without asking anybody.
    let good = link(&ada.call("invite.create", json!({"group": group, "uses": 1}))?);
    let mut swapped: Vec<char> = good.chars().collect();
    let middle = swapped.len() / 2;
    swapped[middle] = if swapped[middle] == 'a' { 'b' } else { 'a' };
    let cut: String = good.chars().take(good.len() - 5).collect();
    for bad in [
        swapped.iter().collect::<String>(),
        cut,
        format!("{good}x"),
        "hearth://join#".into(),
        "hello".into(),
        String::new(),
    ] {
        assert_eq!(kind(&mut ben, "invite.inspect", json!({"link": bad}))?, "invalid");
        assert_eq!(kind(&mut ben, "group.join", join(&bad))?, "invalid");
    }

    // Without the charter nobody is in.
    ben.refusal("group.join", json!({"link": good, "accept_charter": false}))?;

    // Used up.
    ben.call("group.join", join(&good))?;
    assert_eq!(kind(&mut cleo, "group.join", join(&good))?, "exhausted");

    // Revoked.
    let invite = ada.call("invite.create", json!({"group": group}))?;
    ada.call("invite.revoke", json!({"group": group, "invite": invite["invite"]}))?;
    cleo.until("the revoked link to be refused as expired", |cleo| {
        // The relay learns of it a moment later; until then the door may still stand open to look through.
        match cleo.call("invite.inspect", json!({"link": link(&invite)})) {
            Ok(_) => Ok(None),
            Err(_) => Ok(Some(())),
        }
    })?;
    assert_eq!(kind(&mut cleo, "group.join", join(&link(&invite)))?, "expired");

    // Expired.
    let invite = ada.call("invite.create", json!({"group": group, "expires_in_s": 1}))?;
    let started = Instant::now();
    cleo.until("the link to expire", |cleo| {
        // Only the passing of its second makes it so.
        let over = started.elapsed() > Duration::from_millis(1_500);
        let refused = over && cleo.call("invite.inspect", json!({"link": link(&invite)})).is_err();
        Ok(refused.then_some(()))
    })?;
    assert_eq!(kind(&mut cleo, "group.join", join(&link(&invite)))?, "expired");

    // Nobody there at all.
    let invite = ada.call("invite.create", json!({"group": group}))?;
    ada.kill()?;
    ben.kill()?;
    drop(relay);
    let started = Instant::now();
    assert_eq!(kind(&mut cleo, "group.join", join(&link(&invite)))?, "offline");
    assert!(started.elapsed() < Duration::from_secs(50), "an error comes within 45 s");
    assert_eq!(cleo.call("group.list", json!({}))?["groups"], json!([]));
    healthy(&mut cleo)
}

#[test]
fn malformed_lines_wrong_types_and_garbage_cost_one_error_each() -> Result<()> {
    let lab = Lab::new()?;
    let mut ada = lab.member("ada", &[])?;
    let group = ada.found("Patience", "Ada")?;
    let kept = ada.say(&group, "still here")?;

    for (line, code) in [
        ("nonsense", -32_700),
        ("{\"jsonrpc\":\"2.0\",", -32_700),
        ("[]", -32_600),
        ("[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"status\"}]", -32_600),
        ("42", -32_600),
        ("{}", -32_600),
    ] {
        ada.client().write(format!("{line}\n").as_bytes())?;
        assert_eq!(ada.client().nameless(PATIENCE)?.code, code, "{line}");
    }
    for (method, params, code) in [
        ("no.such.method", json!({}), -32_601),
        ("status", json!([]), -32_602),
        ("group.show", json!({}), -32_602),
        ("group.show", json!({"group": 7}), -32_602),
        ("group.create", json!({"name": "n", "join": "sideways"}), -32_602),
        ("message.send", json!({"group": group, "text": ["a"]}), -32_602),
        ("message.list", json!({"group": group, "limit": -1}), -32_602),
    ] {
        assert_eq!(ada.refusal(method, params)?.code, code, "{method}");
    }

    // 5 MB of text under its own id; 64 KiB pass, one byte more does not.
    let text = |len: usize| json!({"group": group, "text": "x".repeat(len)});
    assert_eq!(kind(&mut ada, "message.send", text(5_000_000))?, "too_large");
    assert_eq!(kind(&mut ada, "message.send", text(64 * 1024 + 1))?, "too_large");
    let edit = json!({"group": group, "message": kept.message, "text": "x".repeat(5_000_000)});
    assert_eq!(kind(&mut ada, "message.edit", edit)?, "too_large");
    ada.call("message.send", text(64 * 1024))?;

    // A line that is longer than any line may be.
    let mut long = vec![b'x'; 17 * 1024 * 1024];
    long.push(b'\n');
    ada.client().write(&long)?;
    assert!([-32_600, -32_700].contains(&ada.client().nameless(PATIENCE)?.code));

    // 200 kB of garbage, NULs and broken UTF-8 included.
    let mut garbage: Vec<u8> = (0..200_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    garbage.push(b'\n');
    ada.client().write(&garbage)?;
    for _ in 0..garbage.iter().filter(|&&byte| byte == b'\n').count() {
        assert!([-32_600, -32_700].contains(&ada.client().nameless(PATIENCE)?.code));
    }
    assert_eq!(ada.texts(&group)?.len(), 2);
    healthy(&mut ada)?;
    assert!(ada.quit()?.success());
    Ok(())
}

#[test]
fn names_and_numbers_beyond_their_limits_are_refused() -> Result<()> {
    let lab = Lab::new()?;
    let mut ada = lab.member("ada", &[])?;
    for name in [String::new(), "x".repeat(5_000)] {
        let refused = kind(&mut ada, "group.create", json!({"name": name, "join": "open"}))?;
        assert!(["invalid", "too_large"].contains(&refused.as_str()), "{refused}");
    }
    let group = ada.found("Limits", "Ada")?;
    let note = json!({"group": group, "text": "x", "content_note": "n".repeat(65)});
    let refused = kind(&mut ada, "message.send", note)?;
    assert!(["invalid", "too_large"].contains(&refused.as_str()), "{refused}");
    let refused = kind(&mut ada, "message.send", json!({"group": group, "text": ""}))?;
    assert_eq!(refused, "invalid");
    let nobody = json!({"group": group, "persona": "00".repeat(32)});
    assert_eq!(kind(&mut ada, "knock.admit", nobody.clone())?, "not_found");
    assert_eq!(kind(&mut ada, "knock.decline", nobody)?, "not_found");
    let never = json!({"group": group, "text": "x", "expires_in_s": 0});
    assert_eq!(kind(&mut ada, "message.send", never)?, "invalid");
    let good = "/ip4/127.0.0.1/tcp/9/p2p/12D3KooWHpeEDXMX9av4V4gjJgJNseqV9XBPYrNMpVCDKQxMpVdF";
    for bad in ["not an address", "/junk/p2p/x", "/ip4/127.0.0.1/tcp/9", "/ip4/127.0.0.1/tcp/99999/p2p/x", "/p2p/x"] {
        assert_eq!(kind(&mut ada, "group.set", json!({"group": group, "relays": [bad]}))?, "invalid", "{bad}");
        assert_eq!(kind(&mut ada, "relay.add", json!({"group": group, "address": bad}))?, "invalid", "{bad}");
    }
    assert_eq!(kind(&mut ada, "group.set", json!({"group": group, "relays": [good, good]}))?, "invalid");
    assert_eq!(kind(&mut ada, "relay.remove", json!({"group": group, "address": good}))?, "not_found");
    ada.call("relay.add", json!({"group": group, "address": good}))?;
    assert_eq!(kind(&mut ada, "relay.add", json!({"group": group, "address": good}))?, "conflict");
    ada.call("relay.remove", json!({"group": group, "address": good}))?;
    assert_eq!(ada.call("relay.list", json!({"group": group}))?["relays"], json!([]));
    healthy(&mut ada)
}

#[test]
fn a_second_process_on_one_home_is_refused() -> Result<()> {
    let lab = Lab::new()?;
    let mut ada = lab.member("ada", &[])?;
    let relay = lab.relay("relay")?;
    for (role, home) in [("agent", &ada.home), ("relay", &relay.home)] {
        let output = Command::new(binary()?)
            .args([role, "--home"])
            .arg(home)
            .args(["--listen", "/ip4/127.0.0.1/tcp/0"])
            .env("HEARTH_ARGON2_MIB", "64")
            .stdin(Stdio::null())
            .output()?;
        assert_eq!(output.status.code(), Some(1), "{role}");
        assert!(output.stdout.is_empty(), "{role}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("another") || said.contains("already"), "{role}: {said}");
    }
    healthy(&mut ada)
}

#[test]
fn usage_errors_leave_with_two_and_never_start_another_mode() -> Result<()> {
    let lab = Lab::new()?;
    let home = lab.home("nobody");
    for mode in ["onion", "sideways"] {
        let output = Command::new(binary()?)
            .args(["agent", "--mode", mode, "--home"])
            .arg(&home)
            .stdin(Stdio::null())
            .output()?;
        assert_eq!(output.status.code(), Some(2), "{mode}");
        assert!(output.stdout.is_empty());
        assert!(String::from_utf8_lossy(&output.stderr).contains(mode), "it says which mode");
        assert!(!home.exists(), "nothing was started");
    }
    for args in [&["agent"][..], &["sideways"], &["agent", "--home", "/tmp", "--listen", "nonsense"], &[]] {
        let output = Command::new(binary()?).args(args).env_remove("HEARTH_HOME").stdin(Stdio::null()).output()?;
        assert_eq!(output.status.code(), Some(2), "{args:?}");
    }
    let output = Command::new(binary()?).arg("version").output()?;
    assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains(env!("CARGO_PKG_VERSION")));
    Ok(())
}

/// A relay's identity that no running relay has.
fn stranger(lab: &Lab) -> Result<String> {
    let relay: Relay = lab.relay("stranger")?;
    Ok(relay.peer_id().to_owned())
}

#[test]
fn relays_that_answer_garbage_or_nothing_delay_nobody() -> Result<()> {
    let lab = Lab::new()?;
    let peer_id = stranger(&lab)?;
    for (name, tap) in [("garbage", Tap::garbage()?), ("silence", Tap::silence()?)] {
        let address = format!("/ip4/127.0.0.1/tcp/{}/p2p/{peer_id}", tap.port);
        let mut ada = lab.member(&format!("{name}-ada"), &[&address])?;
        let mut ben = lab.member(&format!("{name}-ben"), &[])?;
        let group = ada.found("Bad line", "Ada")?;
        let said = ada.say(&group, "durable at once")?;
        let started = Instant::now();
        let invite = ada.call("invite.create", json!({"group": group}))?;
        assert_eq!(invite["held"], false, "{name}");
        assert!(started.elapsed() < Duration::from_secs(15), "{name}: at most 10 s");
        let status = ada.call("message.status", json!({"group": group, "message": said.message}))?;
        assert_eq!((&status["state"], &status["relays"]), (&json!("queued"), &json!(0)), "{name}");
        let relays = ada.call("relay.list", json!({"group": group}))?;
        assert_eq!(relays["relays"][0]["state"], "unreachable", "{name}");
        // The members are still there for each other.
        ben.join(invite["link"].as_str().unwrap_or_default(), "Ben")?;
        ben.say(&group, "never mind")?;
        ada.sees(&group, &["never mind"])?;
        healthy(&mut ada)?;
    }
    Ok(())
}

#[test]
fn strangers_at_the_door_change_nothing() -> Result<()> {
    let lab = Lab::new()?;
    let mut relay = lab.relay("relay")?;
    let mut ada = lab.member("ada", &[relay.address()])?;
    let mut ben = lab.member("ben", &[])?;
    let group = ada.found("Thick walls", "Ada")?;
    let link = ada.invite(&group)?;
    ben.join(&link, "Ben")?;
    ada.roster(&group, &["Ada", "Ben"])?;

    let noise: Vec<u8> = (0..100_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let nested: Vec<u8> = vec![0x9f; 100_000];
    let mut doors = 0;
    let mut open = Vec::new();
    for port in [listening(ada.pid())?, listening(ben.pid())?, vec![relay.port()?]].concat() {
        for bytes in [
            &noise[..],
            &[0xff; 4],
            &[0xff, 0xff, 0xff, 0xff, 0x0f],
            &nested,
            b"\x13/multistream/1.0.0\n\x07/noise\n",
            b"GET / HTTP/1.1\r\n\r\n",
            b"",
        ] {
            let mut stream = TcpStream::connect(("127.0.0.1", port))?;
            stream.set_write_timeout(Some(Duration::from_secs(5)))?;
            // A closed door is as good an answer as any.
            let _refused = stream.write_all(bytes);
            open.push(stream);
            doors += 1;
        }
    }
    assert!(doors >= 21, "each process listens somewhere");
    ada.say(&group, "from ada")?;
    ben.sees(&group, &["from ada"])?;
    ben.say(&group, "from ben")?;
    ada.sees(&group, &["from ben"])?;
    drop(open);
    assert!(relay.alive());
    healthy(&mut ada)?;
    healthy(&mut ben)
}
