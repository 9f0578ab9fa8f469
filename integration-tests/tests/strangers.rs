//! Relays that are none, behind a handshake that is in order: real agents keep what was said, and deliver it elsewhere.

#![allow(clippy::unwrap_used, reason = "test code outside of test functions")]

use anyhow::{Context as _, Result};
use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use hearth_integration_tests::{Lab, Member};
use hearth_protocol::{
    cbor,
    mailbox::{Greeting, MAILBOX_PROTOCOL, relay_key},
};
use libp2p::{Multiaddr, Stream, StreamProtocol, SwarmBuilder, noise, swarm::SwarmEvent, tcp, yamux};
use serde_json::json;
use tokio::runtime::Runtime;

/// How a relay misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    /// It speaks no mailbox protocol at all.
    Stranger,
    /// It closes every session at once.
    Closes,
    /// It never greets.
    Mute,
    /// It greets with what is no greeting.
    Garbage,
    /// It greets with a frame of four gigabytes.
    Huge,
    /// It greets, and closes when it is asked something.
    Hangs,
    /// It greets, and answers with what is no answer.
    Babbles,
    /// It greets, and answers nothing.
    Silent,
}

const DEEDS: [Deed; 8] =
    [Deed::Stranger, Deed::Closes, Deed::Mute, Deed::Garbage, Deed::Huge, Deed::Hangs, Deed::Babbles, Deed::Silent];

async fn misbehave(deed: Deed, mut stream: Stream, key: [u8; 32]) -> std::io::Result<()> {
    let greeting = cbor::frame(&Greeting { relay_key: key, nonce: [0; 32], pow_bits: 0 });
    let nested = [&100_000_u32.to_be_bytes()[..], &[0x81; 100_000]].concat();
    match deed {
        Deed::Stranger | Deed::Closes => return Ok(()),
        Deed::Mute => {}
        Deed::Garbage => stream.write_all(&nested).await?,
        Deed::Huge => stream.write_all(&[0xff; 4]).await?,
        Deed::Hangs | Deed::Babbles | Deed::Silent => stream.write_all(&greeting).await?,
    }
    stream.flush().await?;
    while stream.read(&mut [0; 4_096]).await? > 0 {
        match deed {
            Deed::Hangs => break,
            Deed::Babbles => stream.write_all(&nested).await?,
            _ => {}
        }
        stream.flush().await?;
    }
    Ok(())
}

/// Starts one; its address.
async fn relay(deed: Deed) -> Result<String> {
    let mut swarm = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)?
        .with_behaviour(|_| libp2p_stream::Behaviour::new())?
        .build();
    let peer = *swarm.local_peer_id();
    if deed != Deed::Stranger {
        let mut sessions = swarm.behaviour().new_control().accept(StreamProtocol::new(MAILBOX_PROTOCOL))?;
        tokio::spawn(async move {
            while let Some((_, stream)) = sessions.next().await {
                tokio::spawn(misbehave(deed, stream, relay_key(&peer.to_string())));
            }
        });
    }
    swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse::<Multiaddr>()?)?;
    let address = loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            break address;
        }
    };
    tokio::spawn(async move { while swarm.next().await.is_some() {} });
    Ok(format!("{address}/p2p/{peer}"))
}

/// The state of the group's relay of this address.
fn state(member: &mut Member, group: &str, address: &str) -> Result<String> {
    let listed = member.call("relay.list", json!({"group": group}))?;
    let relays = listed["relays"].as_array().context("relay.list without relays")?;
    let row = relays.iter().find(|row| row["address"] == address).context("the relay is not listed")?;
    Ok(row["state"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn what_a_misbehaving_relay_does_not_take_stays_queued_and_goes_to_the_next() -> Result<()> {
    let runtime = Runtime::new()?;
    let lab = Lab::new()?;
    let good = lab.relay("relay")?;
    let mut ada = lab.member("ada", &[])?;
    let mut groups = Vec::new();
    // All at once: each has its time to be found out.
    for deed in DEEDS {
        let bad = runtime.block_on(relay(deed))?;
        let group = ada.found(&format!("{deed:?}"), "Ada")?;
        ada.call("group.set", json!({"group": group, "relays": [bad]}))?;
        let said = ada.say(&group, "not lost")?;
        groups.push((deed, bad, group, said));
    }
    for (deed, bad, group, said) in &groups {
        ada.until(&format!("{deed:?}: unreachable"), |ada| {
            Ok((state(ada, group, bad)? == "unreachable").then_some(()))
        })?;
        let status = ada.call("message.status", json!({"group": group, "message": said.message}))?;
        assert_eq!((&status["state"], &status["relays"]), (&json!("queued"), &json!(0)), "{deed:?}");
        ada.call("relay.add", json!({"group": group, "address": good.address()}))?;
        ada.delivered(group, said, |status| status["relays"] == 1)?;
        assert_eq!(ada.texts(group)?, ["not lost"], "{deed:?}");
    }
    assert!(ada.alive());
    assert!(ada.quit()?.success());
    Ok(())
}

#[test]
fn two_bad_relays_and_a_good_one_carry_a_message_to_a_member_that_sleeps() -> Result<()> {
    let runtime = Runtime::new()?;
    let lab = Lab::new()?;
    let good = lab.relay("relay")?;
    let (mute, babbles) = (runtime.block_on(relay(Deed::Mute))?, runtime.block_on(relay(Deed::Babbles))?);
    let mut ada = lab.member("ada", &[&mute, &babbles, good.address()])?;
    let mut ben = lab.member("ben", &[])?;
    let group = ada.found("Two of three", "Ada")?;
    let link = ada.invite(&group)?;
    ben.join(&link, "Ben")?;
    ada.roster(&group, &["Ada", "Ben"])?;
    ben.kill()?;
    let said = ada.say(&group, "for later")?;
    ada.delivered(&group, &said, |status| status["relays"] == 1)?;
    assert!(ada.quit()?.success());
    // Only the relays are left.
    ben.wake()?;
    ben.sees(&group, &["for later"])?;
    assert!(ben.alive());
    Ok(())
}
