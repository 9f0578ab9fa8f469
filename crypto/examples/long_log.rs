//! What a long policy log costs: as many ops as people who come in by link and leave again write, its bytes, how long it takes to
//! read it from disk, and to settle what it says. Prints the table of docs/figures.md.

#![allow(clippy::print_stdout, reason = "it prints a table")]

use std::{error::Error, time::Instant};

use hearth_crypto::{
    persona::DeviceKeys,
    policy::{At, InviteKeys, PolicyLog, Seat, genesis},
};
use hearth_protocol::{
    cbor,
    id::NodeId,
    op::{JoinMode, OpBody, Role},
    time::Second,
};
use zeroize::Zeroizing;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Uses of one link: then the next is made.
const USES: u32 = 500;

fn keys(of: u64) -> DeviceKeys {
    let mut seed = Zeroizing::new([0; 64]);
    for (half, number) in seed.chunks_exact_mut(32).zip([of, of + (1 << 32)]) {
        half.iter_mut().zip(number.to_be_bytes()).for_each(|(to, byte)| *to = byte);
    }
    DeviceKeys::from_seed(&seed)
}

/// A log of so many ops.
fn log(ops: usize) -> Result<PolicyLog> {
    let (founder, invite, node) = (keys(0), InviteKeys::from_secret(&[7; 32]), NodeId([1; 32]));
    let mut log = PolicyLog::new();
    log.insert(genesis(
        &founder,
        OpBody::Genesis {
            name: "Tuesday".into(),
            charter: "Kind and brief.".into(),
            template: None,
            join: JoinMode::Open,
            history_days: 7,
            suite: 3,
            relays: Vec::new(),
            founder: "Ada".into(),
            salt: [1; 16],
        },
    ))?;
    let mut link = None;
    for came in 0.. {
        let slot = came % USES;
        if slot == 0 {
            let body = OpBody::Invite {
                join_pk: invite.join_pk(),
                door_pk: [0; 32],
                uses: USES,
                role: Role::Member,
                expires: Second(u64::MAX / 2),
                mode: JoinMode::Open,
            };
            let op = log.make(&founder, At { heads: &log.heads(), node }, body)?;
            link = Some(op.id());
            log.insert(op)?;
        }
        let (who, invited) = (keys(u64::from(came) + 1), link.ok_or("no link yet")?);
        let seat = Seat { invite: invited, slot, name: "Ben".into() };
        log.insert(log.make_join(&who, &invite, At { heads: &log.heads(), node }, seat)?)?;
        log.insert(log.make(&who, At { heads: &log.heads(), node }, OpBody::Leave)?)?;
        if log.len() >= ops {
            break;
        }
    }
    Ok(log)
}

fn main() -> Result<()> {
    println!("| ops | bytes | read from disk | settled | settled again |\n|---|---|---|---|---|");
    for ops in [500, 1_000, 2_000, 4_000] {
        let stored: Vec<_> = log(ops)?.ops_in_order().map(|(_, op)| op.bare()).collect();
        let bytes: usize = stored.iter().map(|op| cbor::to_vec(op).len()).sum();
        let mut log = PolicyLog::new();
        let begun = Instant::now();
        log.restore_all(stored.into_iter());
        let read = begun.elapsed();
        let settle = || {
            let begun = Instant::now();
            let members = log.state_at(&log.heads(), &()).members.len();
            (begun.elapsed().as_secs_f64() * 1e3, members)
        };
        let ((first, members), (again, _)) = (settle(), settle());
        if members != 1 {
            return Err("who left is still there".into());
        }
        println!("| {} | {bytes} | {:.0} ms | {first:.1} ms | {again:.1} ms |", log.len(), read.as_secs_f64() * 1e3);
    }
    Ok(())
}
