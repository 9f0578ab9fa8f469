//! People and words for pictures. All invented.

use hearth_node::app::{Delivery, GroupState, Join, MessageRow, Reactions, RoleName, Utc};
use hearth_protocol::{id::MessageId, time::Timestamp};

use crate::fake::{Room, knock, persona, room};

/// Tuesday 24 November 2026, 19:40 UTC, in milliseconds.
pub(crate) const NOW: u64 = 1_795_549_200_000;
const MINUTE: u64 = 60_000;

/// Everything the pictures show.
pub(crate) fn rooms() -> Vec<Room> {
    use RoleName::{Cofacilitator, Facilitator, Member, Newcomer};
    let people = [
        ("Quiet Heron", Facilitator),
        ("Steady Otter", Facilitator),
        ("Copper Wren", Cofacilitator),
        ("Gentle Badger", Member),
        ("Northern Lark", Member),
        ("Rainy Marten", Member),
        ("Hopeful Tern", Member),
        ("Early Sparrow", Newcomer),
        ("Linen Moth", Member),
    ];
    let mut circle = room(0x21, "Tuesday circle", &people, 30);
    circle.messages = talk(&circle);
    circle.row.unread = 3;
    let mut garden = room(0x34, "Grief & gardens", &people[..3], 0);
    garden.row.role = Member;
    let mut nights = room(0x58, "New parents, nights", &people[..5], 7);
    nights.row.unread = 12;
    nights.row.role = Member;
    let mut arabic = room(0x63, "الدعم المتبادل", &people[..2], 7);
    arabic.row.role = Newcomer;
    let mut hebrew = room(0x72, "קבוצת תמיכה", &people[..2], 7);
    hebrew.row.role = Member;
    hebrew.row.state = GroupState::Waiting;
    vec![circle, garden, nights, arabic, hebrew]
}

struct Line {
    who: usize,
    ago: u64,
    text: &'static str,
    note: Option<&'static str>,
}

const fn line(who: usize, ago: u64, text: &'static str) -> Line {
    Line { who, ago, text, note: None }
}

fn talk(room: &Room) -> Vec<MessageRow> {
    let lines = [
        line(
            1,
            2_100,
            "Welcome to everyone who is new this week. Read along as long as you like, there is no rush to say anything.",
        ),
        line(
            3,
            2_080,
            "Day nineteen. I made soup and answered two letters that had been lying there since August. Small things, but they are done.",
        ),
        line(4, 1_500, "That soup is not a small thing."),
        line(
            2,
            420,
            "I had a hard evening yesterday and used the list in the Library: cold water, a walk round the block, call somebody. The walk was enough this time.",
        ),
        line(2, 418, "Writing it down so that I find it again."),
        Line {
            who: 5,
            ago: 300,
            text: "I did drink on Saturday. I am back, and I would rather tell you than hide.",
            note: Some("a lapse"),
        },
        line(0, 290, "Thank you for telling us. You are as welcome as before. 🫶"),
        line(6, 160, "Same here last spring. It got lighter again, slower than I wanted."),
        line(4, 61, "صباح الخير من هنا، أقرأ معكم كل يوم (وإن كنت لا أكتب كثيرا)"),
        line(
            7,
            34,
            "Hello. I have read for a week and this is my first message. I do not sleep much at the moment, and it helps that somebody is always somewhere awake.",
        ),
        line(1, 30, "Good that you are here. Nights are when this group is loudest, oddly 🙂"),
        line(0, 4, "I am around until nine if somebody wants to talk."),
    ];
    let mut rows: Vec<MessageRow> = lines.iter().enumerate().map(|(n, l)| row(room, n, l)).collect();
    let p = |n| persona(room, n);
    rows[1].reactions.with_you = vec![p(0), p(2), p(6)];
    rows[3].reactions.thank_you = vec![p(4), p(5)];
    rows[5].reactions = Reactions { with_you: vec![p(0), p(1), p(3)], me_too: vec![p(6)], thank_you: vec![] };
    rows[6].reply_to = Some(rows[5].message);
    rows[9].reactions.with_you = vec![p(1), p(0)];
    rows[7].edited = true;
    rows[11].delivery = Delivery::Held;
    rows
}

fn row(room: &Room, n: usize, l: &Line) -> MessageRow {
    let mut id = [0x11; 32];
    id[0] = u8::try_from(n).unwrap_or(0);
    MessageRow {
        message: MessageId(id),
        persona: persona(room, l.who),
        name: room.members[l.who].name.clone(),
        text: l.text.into(),
        topic: None,
        reply_to: None,
        content_note: l.note.map(str::to_owned),
        sent_at: Utc(Timestamp(NOW - l.ago * MINUTE)),
        edited: false,
        retracted: false,
        reactions: Reactions::default(),
        delivery: Delivery::Reached,
    }
}

/// Two people at the door of the first room.
pub(crate) fn knocked(rooms: &mut [Room]) {
    if let Some(room) = rooms.first_mut() {
        room.join = Join::Knock;
        room.knocks = vec![
            knock(
                0x51,
                "Patient Otter",
                "My sister found this circle two years ago and told me about the charter. It is my third week.",
                NOW - 5 * 3_600_000,
            ),
            knock(0x52, "Amber Wren", "", NOW - 1_200_000),
        ];
    }
}
