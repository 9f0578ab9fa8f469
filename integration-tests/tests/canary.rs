//! No plaintext anywhere: texts, names, passphrase and links in no file, no log, on no wire, in no encoding.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use data_encoding::{BASE64, HEXLOWER};
use hearth_integration_tests::{Lab, scan, tap::Tap};
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;

/// Secrets that look like nothing else.
struct Canaries {
    rng: rand_chacha::ChaCha8Rng,
    all: Vec<String>,
}

impl Canaries {
    fn hatch(&mut self, kind: &str) -> String {
        let tail: String = (0..16).map(|_| char::from(self.rng.random_range(b'a'..=b'z'))).collect();
        let canary = format!("{kind}{tail}");
        self.all.push(canary.clone());
        canary
    }
}

fn canaries() -> Canaries {
    Canaries { rng: rand_chacha::ChaCha8Rng::seed_from_u64(64), all: Vec::new() }
}

#[test]
fn no_plaintext_in_any_file_log_or_byte_on_the_wire() -> Result<()> {
    let lab = Lab::new()?;
    let mut canaries = canaries();
    let relay = lab.relay("relay")?;
    let tap = Tap::before(relay.port()?)?;
    let tapped = relay.address().replace(&format!("/tcp/{}", relay.port()?), &format!("/tcp/{}", tap.port));
    let mut ada = lab.newcomer("a", &[&tapped])?;
    let mut ben = lab.newcomer("b", &[])?;
    ada.passphrase = canaries.hatch("passphrase");
    ben.passphrase = canaries.hatch("passphrase");
    ada.create_vault()?;
    ben.create_vault()?;

    let group = ada.found(&canaries.hatch("group"), &canaries.hatch("name"))?;
    ada.call("group.set", json!({"group": group, "charter": canaries.hatch("charter")}))?;
    let link = ada.invite(&group)?;
    canaries.all.push(link.trim_start_matches("hearth://join#").chars().take(40).collect());
    ben.join(&link, &canaries.hatch("name"))?;
    let mut texts = Vec::new();
    for round in 0..24 {
        let text = canaries.hatch("text");
        let author = if round % 2 == 0 { &mut ada } else { &mut ben };
        let mut params = json!({"group": group, "text": format!("so {text} it is")});
        if round % 4 == 0 {
            params["content_note"] = canaries.hatch("note").into();
        }
        let sent = author.call("message.send", params)?;
        texts.push((round % 2 == 0, sent["message"].as_str().context("message")?.to_owned(), text));
    }
    for (by_ada, message, _) in texts.iter().take(6) {
        let author = if *by_ada { &mut ada } else { &mut ben };
        let params = json!({"group": group, "message": message, "text": canaries.hatch("edit")});
        author.call("message.edit", params)?;
    }
    for (by_ada, message, _) in texts.iter().skip(6).take(4) {
        let author = if *by_ada { &mut ada } else { &mut ben };
        author.call("message.retract", json!({"group": group, "message": message}))?;
    }
    for _ in 0..4 {
        ada.call("draft.set", json!({"group": group, "text": canaries.hatch("draft")}))?;
    }
    // Wrong input is a secret too: it may be a passphrase typed into the wrong field.
    for _ in 0..4 {
        ada.refusal("vault.unlock", json!({"passphrase": canaries.hatch("wrong")}))?;
        ada.refusal("group.show", json!({"group": canaries.hatch("mistyped")}))?;
        ada.refusal("invite.inspect", json!({"link": canaries.hatch("link")}))?;
    }
    let fresh = canaries.hatch("passphrase");
    ada.call("vault.change_passphrase", json!({"old": ada.passphrase, "new": fresh}))?;
    ada.passphrase = fresh;
    ensure!(canaries.all.len() >= 60, "only {} canaries", canaries.all.len());

    // Everything has arrived, so everything has been on the wire and on both disks.
    let last = ada.say(&group, &canaries.hatch("text"))?;
    ben.sees(&group, &[&last.text])?;
    ada.kill()?;
    ada.wake()?;
    assert!(ada.quit()?.success());
    ben.kill()?;

    let forms = scan::forms(&canaries.all);
    let (finds, files) = scan::search_files(lab.path(), &forms)?;
    assert!(files > 5, "{files} files were searched");
    assert_eq!(finds, [], "secrets by their number");
    let wire = tap.bytes();
    assert!(wire.len() > 100_000, "{} bytes went over the wire", wire.len());
    assert!(scan::search(&wire, &forms).is_empty());
    Ok(())
}

#[test]
fn the_search_finds_every_encoding_when_there_is_one() -> Result<()> {
    let mut canaries = canaries();
    for _ in 0..8 {
        canaries.hatch("control");
    }
    let forms = scan::forms(&canaries.all);
    let dir = tempfile::tempdir()?;
    for (number, secret) in canaries.all.iter().enumerate() {
        let file = dir.path().join("deep").join(format!("{number}.bin"));
        fs::create_dir_all(dir.path().join("deep"))?;
        for before in ["", "x", "xy"] {
            let whole = format!("{before}{secret} and more");
            let utf16 = |order: fn(u16) -> [u8; 2]| whole.encode_utf16().flat_map(order).collect::<Vec<u8>>();
            for bytes in [
                whole.clone().into_bytes(),
                utf16(u16::to_le_bytes),
                utf16(u16::to_be_bytes),
                HEXLOWER.encode(whole.as_bytes()).into_bytes(),
                HEXLOWER.encode(whole.as_bytes()).to_uppercase().into_bytes(),
                BASE64.encode(whole.as_bytes()).into_bytes(),
            ] {
                let padded: Vec<u8> = [vec![0xa5; 1_000], bytes, vec![0x5a; 1_000]].concat();
                fs::write(&file, padded)?;
                let (finds, files) = scan::search_files(dir.path(), &forms)?;
                assert_eq!(files, number + 1);
                assert!(finds.iter().any(|find| find.secret == number), "canary {number} behind {before:?}");
                fs::write(&file, b"")?;
            }
        }
        // In a name too.
        let named = dir.path().join(format!("{secret}.tmp"));
        fs::write(&named, b"")?;
        assert!(scan::search_files(dir.path(), &forms)?.0.iter().any(|find| find.secret == number));
        fs::remove_file(named)?;
    }
    Ok(())
}
