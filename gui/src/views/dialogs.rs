//! What lies over everything: keys, jumping, a message's actions, questions before anything that cannot be taken back.

use eframe::egui::{Align, Layout, Ui, vec2};
use hearth_node::app::{Command, Reaction, RoleName};
use hearth_protocol::id::{GroupId, PersonaId};

use crate::{
    fonts,
    rows::{self, GroupItem, MemberItem, MessageItem},
    state::{Act, Dialog, Page},
    text::{self, Pen},
    theme::{size, space},
    widgets::{self, Field, Loud},
};

const KEYS: [(&str, &str); 16] = [
    ("F6, Shift+F6", "next and previous region"),
    ("Esc", "to the message you are writing"),
    ("Enter", "send; Shift+Enter begins a new line"),
    ("↑ ↓", "through the messages"),
    ("Enter, on a message", "its actions"),
    ("R, on a message", "answer it"),
    ("E, on a message", "react to it"),
    ("Ctrl+K", "jump to a group or a command"),
    ("Alt+↑, Alt+↓", "previous and next group"),
    ("Alt+Shift+↑, Alt+Shift+↓", "previous and next group with something new"),
    ("Ctrl+L", "lock"),
    ("Ctrl+Shift+H", "an empty page at once; again, and your passphrase, to come back"),
    ("Ctrl+Plus, Ctrl+Minus", "larger and smaller"),
    ("Ctrl+0", "the usual size"),
    ("Ctrl+/", "these keys"),
    ("Tab, Shift+Tab", "next and previous control"),
];

/// All keys.
pub fn help(ui: &mut Ui) -> Vec<Act> {
    let p = widgets::colors(ui);
    ui.spacing_mut().item_spacing.y = space::XS;
    ui.spacing_mut().interact_size.y = space::L;
    for (keys, does) in KEYS {
        ui.horizontal(|ui| {
            let galley = text::line(ui, keys, &Pen::new(fonts::semibold(size::NOTE), p.text), 190.0);
            let (rect, said) = ui.allocate_exact_size(vec2(190.0, galley.size().y), eframe::egui::Sense::hover());
            ui.painter().galley(rect.min, galley, p.text);
            said.widget_info(|| eframe::egui::WidgetInfo::labeled(eframe::egui::Role::Label, true, keys));
            widgets::note(ui, does);
        });
    }
    ui.add_space(space::S);
    if widgets::button(ui, Loud::Plain, "Close").clicked() { vec![Act::Close] } else { Vec::new() }
}

/// Where to go.
pub fn jump(ui: &mut Ui, groups: &[GroupItem], query: &mut String) -> Vec<Act> {
    let mut acts = Vec::new();
    let field = Field::new("jump", "Group or command").hint("Type a few letters").bare(ui, query);
    if !field.has_focus() && !field.lost_focus() {
        field.request_focus();
    }
    let entered = widgets::entered(ui, &field);
    let wanted = query.trim().to_lowercase();
    let fits = |name: &str| wanted.is_empty() || name.to_lowercase().contains(&wanted);
    let commands = [
        ("Join with a link", Act::Show(Page::Join)),
        ("Create a group", Act::Show(Page::Create)),
        ("Settings", Act::Show(Page::Settings)),
        ("Lock", Act::Lock),
    ];
    let found = groups.iter().filter(|g| fits(&g.name)).map(|g| (g.name.as_str(), Act::Open(g.group)));
    let found = found.chain(commands.into_iter().filter(|(name, _)| fits(name)));
    for (n, (name, act)) in found.take(9).enumerate() {
        let clicked = widgets::button(ui, Loud::Quiet, name).clicked();
        if acts.is_empty() && (clicked || (entered && n == 0)) {
            acts.extend([Act::Close, act]);
        }
    }
    acts
}

/// What can be done with a message.
pub fn actions(ui: &mut Ui, m: &MessageItem, copy: Option<&str>, delivery: &str) -> Vec<Act> {
    let mut acts = Vec::new();
    widgets::note(ui, &format!("{}, {}", m.author, m.time));
    if m.yours {
        widgets::note(ui, delivery);
    }
    ui.horizontal_wrapped(|ui| {
        for reaction in [Reaction::WithYou, Reaction::MeToo, Reaction::ThankYou] {
            let on = m.reactions.iter().any(|r| r.reaction == reaction && r.yours);
            if widgets::chip(ui, on, rows::reaction_words(reaction)).clicked() {
                acts.extend([Act::Close, Act::React(m.message, reaction, !on)]);
            }
        }
    });
    let mut offer = |ui: &mut Ui, label: &str, act: Act| {
        if widgets::button(ui, Loud::Quiet, label).clicked() {
            acts.extend([Act::Close, act]);
        }
    };
    ui.spacing_mut().item_spacing.y = space::XS;
    offer(ui, "Answer", Act::Reply(m.message));
    if m.note.is_some() && m.body != rows::Body::Retracted {
        let hidden = m.body == rows::Body::Veiled;
        offer(ui, if hidden { "Show what is behind the note" } else { "Hide again" }, Act::Veil(m.message, hidden));
    }
    if let Some(text) = copy {
        offer(ui, "Copy the text", Act::Copy(text.to_owned()));
    }
    if m.yours && m.body != rows::Body::Retracted {
        offer(ui, "Change it", Act::Edit(m.message));
        offer(ui, "Take it back", Act::Ask(Dialog::Retract(m.message)));
    }
    if widgets::button(ui, Loud::Plain, "Close").clicked() {
        acts.push(Act::Close);
    }
    acts
}

/// A member: the role, and what a facilitator may do.
pub fn member(ui: &mut Ui, item: &MemberItem, may: bool) -> Vec<Act> {
    let mut acts = Vec::new();
    widgets::body(ui, &format!("{} · {}", item.note, rows::role_means(item.role)));
    if may && !item.you {
        widgets::caption(ui, "Change the role to");
        for role in
            [RoleName::Facilitator, RoleName::Cofacilitator, RoleName::Member, RoleName::Newcomer, RoleName::Reader]
        {
            let title = rows::role_long(role);
            if widgets::choice(ui, role == item.role, title, rows::role_means(role)).clicked() && role != item.role {
                acts.push(Act::Ask(Dialog::Role(item.persona, role)));
            }
        }
        ui.add_space(space::S);
        if widgets::button(ui, Loud::Plain, "Remove from the group…").clicked() {
            acts.push(Act::Ask(Dialog::Remove(item.persona, String::new())));
        }
    }
    if widgets::button(ui, Loud::Plain, "Close").clicked() {
        acts.push(Act::Close);
    }
    acts
}

/// Sure to change the role?
pub fn role(ui: &mut Ui, item: &MemberItem, group: GroupId, role: RoleName) -> Vec<Act> {
    let asks = format!("{} becomes {}. {}", item.name, rows::role_long(role), rows::role_means(role));
    let command = Command::MemberSetRole { group, persona: item.persona, role };
    confirm(ui, &asks, ("Change the role", Loud::Primary), command)
}

/// Sure to remove?
pub fn remove(ui: &mut Ui, item: &MemberItem, group: GroupId, reason: &mut String) -> Vec<Act> {
    Field::new("reason", "Why? Everyone in the group can read it").show(ui, reason);
    let asks = format!("{} will not read anything that is written from now on. What was read stays read.", item.name);
    let reason = (!reason.trim().is_empty()).then(|| reason.trim().to_owned());
    let command = Command::MemberRemove { group, persona: item.persona, reason };
    confirm(ui, &asks, ("Remove from the group", Loud::Danger), command)
}

/// Sure to take back?
pub fn retract(ui: &mut Ui, group: GroupId, message: hearth_protocol::id::MessageId) -> Vec<Act> {
    let asks = "The text disappears for everyone. Those who have read it may remember it.";
    confirm(ui, asks, ("Take it back", Loud::Danger), Command::MessageRetract { group, message })
}

/// Sure to leave?
pub fn leave(ui: &mut Ui, group: GroupId) -> Vec<Act> {
    let asks = "You will not read anything that is written from now on. To come back you need a new invite, and you will have a new name.";
    confirm(ui, asks, ("Leave the group", Loud::Danger), Command::GroupLeave { group })
}

/// A relay's address.
pub fn relay(ui: &mut Ui, group: GroupId, address: &mut String) -> Vec<Act> {
    widgets::body(
        ui,
        "A relay is a small computer of somebody you trust a little. It keeps sealed messages for those who sleep, \
         and can read none of them. Ask its owner for the address.",
    );
    let field = Field::new("relay", "Address of the relay").hint("/ip4/…/tcp/…/p2p/…").show(ui, address);
    let entered = widgets::entered(ui, &field);
    let ready = !address.trim().is_empty();
    let mut acts = Vec::new();
    ui.horizontal(|ui| {
        if widgets::button(ui, Loud::Plain, "Not now").clicked() {
            acts.push(Act::Close);
        }
        let add = ui.add_enabled_ui(ready, |ui| widgets::button(ui, Loud::Primary, "Add it")).inner;
        if ready && (add.clicked() || entered) {
            let address = address.trim().to_owned();
            acts.extend([Act::Close, Act::Command(Command::RelayAdd { group, address })]);
        }
    });
    acts
}

fn confirm(ui: &mut Ui, asks: &str, yes: (&str, Loud), command: Command) -> Vec<Act> {
    widgets::body(ui, asks);
    ui.add_space(space::S);
    let mut acts = Vec::new();
    ui.with_layout(Layout::left_to_right(Align::Min), |ui| {
        // The safe answer comes first in reading order and so under the first Tab.
        if widgets::button(ui, Loud::Plain, "Not now").clicked() {
            acts.push(Act::Close);
        }
        if widgets::button(ui, yes.1, yes.0).clicked() {
            acts.extend([Act::Close, Act::Command(command)]);
        }
    });
    acts
}

/// The member whom a dialog is about.
#[must_use]
pub fn find(items: &[MemberItem], persona: PersonaId) -> Option<&MemberItem> {
    items.iter().find(|m| m.persona == persona)
}
