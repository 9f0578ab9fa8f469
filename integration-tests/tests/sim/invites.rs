//! When an invite ends: the engine by itself, on a clock of its own.

use hearth_crypto::{mls::Suite, model::ModelMls};
use hearth_node::{
    app::{Answer, Command, CommandId, Event, Join, Kind, Refusal, Secret},
    engine::{Engine, EngineConfig, Input},
};
use hearth_protocol::{id::GroupId, link::InviteLink, time::Timestamp};

const NOW: Timestamp = Timestamp(1_767_225_600_400);

fn engine(n: u8) -> Engine<ModelMls> {
    let config = EngineConfig { suite: Some(Suite::Classic), ..EngineConfig::default() };
    Engine::new(ModelMls::new([n; 32]), config, [n; 32])
}

/// The reply to a command, if this input brings it.
fn ask(engine: &mut Engine<ModelMls>, command: Command, now: Timestamp) -> Option<Result<Answer, Refusal>> {
    reply(engine.handle(Input::Command { id: CommandId(1), command }, now).emit)
}

fn reply(events: Vec<Event>) -> Option<Result<Answer, Refusal>> {
    events.into_iter().find_map(|event| match event {
        Event::Reply { command: CommandId(1), result } => Some(result),
        _ => None,
    })
}

fn found(engine: &mut Engine<ModelMls>) -> GroupId {
    let (name, template, history_days, persona) = ("Tuesday".to_owned(), None, None, None);
    let command = Command::GroupCreate { name, template, join: Join::Open, history_days, persona };
    let Some(Ok(Answer::GroupCreated { group, .. })) = ask(engine, command, NOW) else { panic!("no group") };
    group
}

/// A link that lives for `seconds`, made at `NOW`.
fn link(engine: &mut Engine<ModelMls>, group: GroupId, seconds: u64) -> String {
    let command = Command::InviteCreate { group, uses: None, expires_in_s: Some(seconds), role: None };
    assert!(ask(engine, command, NOW).is_none(), "without a relay it waits for one");
    let Some(Ok(Answer::Invite { link, .. })) = reply(engine.handle(Input::Tick, NOW.plus_ms(10_000)).emit) else {
        panic!("no link")
    };
    link.expose().to_owned()
}

#[test]
fn an_invite_ends_in_its_second() {
    let mut ada = engine(1);
    let group = found(&mut ada);
    let text = link(&mut ada, group, 1);
    let end = InviteLink::parse(&text).unwrap().expires.start();
    assert_eq!(end, Timestamp(1_767_225_602_000), "a whole second, and never less than was asked for");
    let inspect = || Command::InviteInspect { link: Secret::new(text.clone()) };
    let before = Timestamp(end.0 - 1);
    assert!(ask(&mut engine(2), inspect(), before).is_none(), "it looks behind the link");
    let Some(Err(refusal)) = ask(&mut engine(2), inspect(), end) else { panic!("no refusal") };
    assert_eq!(refusal.kind, Kind::Expired);
    let Some(Ok(Answer::Inspected { expires_at, .. })) = ask(&mut ada, inspect(), before) else { panic!("not shown") };
    assert_eq!(expires_at.0, end, "members are shown the same second");
}
