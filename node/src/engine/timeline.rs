//! What people said in one group: every signed envelope, in the one causal order that all members display.
//!
//! Order of an envelope: (greatest minute of itself and its ancestors, causal depth, message id). A child sorts
//! after its parents, and after its device's envelope before, whatever its clock says, and the same set of envelopes
//! gives the same order everywhere.
//! Edits, retractions and reactions are envelopes too; a row is folded from its original and what replaces it,
//! so the order of arrival changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use hearth_crypto::envelope::CheckedEnvelope;
use hearth_protocol::{
    cbor,
    content::Content,
    envelope::SignedEnvelope,
    id::{DeviceId, EnvelopeId, GroupId, MessageId, NodeId, PersonaId},
    limits::ENVELOPE_PARENTS_MAX,
    time::{Minute, Timestamp},
};
use minicbor::{Decode, Encode};

use crate::app::{Reaction, Reactions};

/// Where an envelope stands: see the module's page.
pub(crate) type Place = (u64, u32, MessageId);

/// One envelope as it is kept, in memory and on disk.
#[derive(Clone, Debug, Encode, Decode)]
pub(crate) struct Kept {
    #[n(0)]
    pub(crate) persona: PersonaId,
    #[n(1)]
    pub(crate) device: DeviceId,
    #[n(2)]
    pub(crate) node: NodeId,
    #[n(3)]
    pub(crate) seq: u64,
    #[n(4)]
    pub(crate) parents: Vec<EnvelopeId>,
    #[n(5)]
    pub(crate) sent_at: Minute,
    #[n(6)]
    pub(crate) message: MessageId,
    #[n(7)]
    pub(crate) says: Says,
    /// The bytes that can be handed on; gone when retracted or expired.
    #[n(8)]
    pub(crate) signed: Option<SignedEnvelope>,
    /// Unix seconds at which it disappears.
    #[n(9)]
    pub(crate) expires_s: Option<u64>,
    /// The device's envelope before this one. It sorts first even where what lies between them is missing here.
    #[n(10)]
    pub(crate) previous: Option<EnvelopeId>,
    /// Depth of `node`, if it was known when this came: the DAG may have left it behind since.
    #[n(11)]
    pub(crate) depth: Option<u64>,
}

impl Kept {
    /// What it comes after. Every link is a hash of what it names, so there is no circle.
    fn comes_after(&self) -> impl Iterator<Item = &EnvelopeId> {
        self.parents.iter().chain(&self.previous)
    }
}

/// What an envelope does.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Says {
    /// A row of its own.
    #[n(0)]
    Post,
    /// Replaces the text of a row.
    #[n(1)]
    Edit(#[n(0)] MessageId),
    /// Takes a row back.
    #[n(2)]
    Retract(#[n(0)] MessageId),
    /// Reacts to a row: the reaction's word.
    #[n(3)]
    React(#[n(0)] MessageId, #[n(1)] String),
    /// Takes a reaction back: the row, the reaction's message.
    #[n(4)]
    Unreact(#[n(0)] MessageId, #[n(1)] MessageId),
    /// Something this version does not know; kept and handed on.
    #[n(5)]
    Unknown,
}

/// A folded row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) message: MessageId,
    pub(crate) envelope: EnvelopeId,
    pub(crate) persona: PersonaId,
    pub(crate) text: String,
    pub(crate) topic: Vec<u8>,
    pub(crate) reply_to: Option<MessageId>,
    pub(crate) note: Option<String>,
    pub(crate) sent_at: Minute,
    pub(crate) edited: bool,
    pub(crate) retracted: bool,
    pub(crate) reactions: Reactions,
}

/// What an insert changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inserted {
    /// Known already.
    Duplicate,
    /// A new row.
    New(MessageId),
    /// A row that is (or will be) there looks different now.
    Changed(MessageId),
    /// Nothing to see.
    Silent,
}

/// Envelopes remembered that others have: more would say nothing more.
const UNKNOWN_MAX: usize = 4_096;

/// Everything said in a group.
#[derive(Debug, Default)]
pub(crate) struct Timeline {
    kept: BTreeMap<EnvelopeId, Kept>,
    places: BTreeMap<EnvelopeId, Place>,
    by_message: BTreeMap<MessageId, EnvelopeId>,
    rows: BTreeMap<Place, EnvelopeId>,
    /// Edits, retractions and reactions by the row they concern.
    about: BTreeMap<MessageId, BTreeSet<EnvelopeId>>,
    /// Envelopes by what they name as coming before them, known or not.
    children: BTreeMap<EnvelopeId, BTreeSet<EnvelopeId>>,
    /// Envelopes that exist, as others say, and are not here.
    unknown: BTreeSet<EnvelopeId>,
    /// Envelopes that no known one comes after.
    newest: BTreeSet<EnvelopeId>,
    chains: BTreeMap<DeviceId, BTreeMap<u64, EnvelopeId>>,
    /// Whose devices said two things in one place of their chain.
    doubled: BTreeSet<PersonaId>,
    expiring: BTreeSet<(u64, EnvelopeId)>,
}

impl Timeline {
    /// Reads what an envelope does; `None` when its body is no MIMI content.
    pub(crate) fn read(group: &GroupId, checked: &CheckedEnvelope) -> Option<Kept> {
        let c = &checked.content;
        let content = Content::decode(&c.body).ok()?;
        let message = content.message_id(&c.body, &c.persona, group);
        let says = match (content.replaces, content.in_reply_to) {
            (Some(reaction), Some(target)) if content.is_retraction() => Says::Unreact(target, reaction),
            (Some(target), _) if content.is_retraction() => Says::Retract(target),
            (Some(target), _) if content.as_text().is_some() => Says::Edit(target),
            (None, Some(target)) if content.as_reaction().is_some() => {
                Says::React(target, content.as_reaction().unwrap_or_default().to_owned())
            }
            (None, _) if content.as_text().is_some() => Says::Post,
            _ => Says::Unknown,
        };
        let expires_s = content.expires.filter(|e| !e.relative).map(|e| u64::from(e.time));
        Some(Kept {
            persona: c.persona,
            device: c.device,
            node: c.node,
            seq: c.seq,
            parents: c.parents.clone(),
            sent_at: c.sent_at,
            message,
            says,
            signed: Some(checked.signed.clone()),
            expires_s,
            previous: (c.seq > 1).then_some(c.prev),
            depth: None,
        })
    }

    /// Takes an envelope in.
    pub(crate) fn insert(&mut self, id: EnvelopeId, kept: Kept) -> Inserted {
        if self.kept.contains_key(&id) {
            return Inserted::Duplicate;
        }
        for parent in kept.comes_after() {
            self.children.entry(*parent).or_default().insert(id);
            self.newest.remove(parent);
        }
        for parent in kept.comes_after().copied().collect::<Vec<_>>() {
            self.hear_of(parent);
        }
        self.unknown.remove(&id);
        if self.children.get(&id).is_none_or(BTreeSet::is_empty) {
            self.newest.insert(id);
        }
        let first = *self.chains.entry(kept.device).or_default().entry(kept.seq).or_insert(id);
        if first != id {
            self.doubled.insert(kept.persona);
        }
        self.by_message.entry(kept.message).or_insert(id);
        if let Some(at) = kept.expires_s.filter(|_| kept.signed.is_some()) {
            self.expiring.insert((at, id));
        }
        let outcome = match &kept.says {
            Says::Post => Inserted::New(kept.message),
            Says::Edit(t) | Says::Retract(t) | Says::React(t, _) | Says::Unreact(t, _) => {
                self.about.entry(*t).or_default().insert(id);
                Inserted::Changed(*t)
            }
            Says::Unknown => Inserted::Silent,
        };
        self.kept.insert(id, kept);
        self.place(id);
        outcome
    }

    /// Gives `id` and, where that moves them, its descendants their place.
    fn place(&mut self, id: EnvelopeId) {
        let mut todo = vec![id];
        while let Some(id) = todo.pop() {
            let Some(kept) = self.kept.get(&id) else { continue };
            let known = kept.comes_after().filter_map(|p| self.places.get(p));
            let (minute, depth) = known.fold((kept.sent_at.0, 0), |(m, d), p| (m.max(p.0), d.max(p.1 + 1)));
            let place = (minute, depth, kept.message);
            let old = self.places.insert(id, place);
            if old == Some(place) {
                continue;
            }
            if kept.says == Says::Post {
                old.and_then(|o| self.rows.remove(&o));
                self.rows.insert(place, id);
            }
            todo.extend(self.children.get(&id).into_iter().flatten());
        }
    }

    pub(crate) fn contains(&self, id: &EnvelopeId) -> bool {
        self.kept.contains_key(id)
    }

    pub(crate) fn get(&self, id: &EnvelopeId) -> Option<&Kept> {
        self.kept.get(id)
    }

    pub(crate) fn envelope_of(&self, message: &MessageId) -> Option<EnvelopeId> {
        self.by_message.get(message).copied()
    }

    /// How many envelopes there are. None ever goes.
    pub(crate) fn len(&self) -> usize {
        self.kept.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&EnvelopeId, &Kept)> {
        self.kept.iter()
    }

    /// The place of a row's message.
    pub(crate) fn place_of(&self, message: &MessageId) -> Option<Place> {
        self.places.get(self.by_message.get(message)?).copied()
    }

    /// The greatest place of any row.
    pub(crate) fn last_place(&self) -> Option<Place> {
        self.rows.last_key_value().map(|(p, _)| *p)
    }

    /// Next sequence number and previous envelope of a device.
    pub(crate) fn chain_end(&self, device: &DeviceId) -> (u64, EnvelopeId) {
        let last = self.chains.get(device).and_then(|c| c.last_key_value());
        last.map_or((1, EnvelopeId([0; 32])), |(seq, id)| (seq + 1, *id))
    }

    /// Who said two things in one place of a chain.
    pub(crate) fn doubled(&self) -> &BTreeSet<PersonaId> {
        &self.doubled
    }

    /// Last sequence number and envelope of each device of a persona.
    pub(crate) fn ends_of(&self, persona: &PersonaId) -> Vec<(DeviceId, u64, EnvelopeId)> {
        let ends = self.chains.iter().filter_map(|(d, c)| c.last_key_value().map(|(s, id)| (*d, *s, *id)));
        ends.filter(|(_, _, id)| self.kept.get(id).is_some_and(|k| k.persona == *persona)).collect()
    }

    /// Envelopes missing of each device: between the first and the last that are here, and before the first where `whole`
    /// says of it that they ought to be here.
    pub(crate) fn gaps(&self, whole: impl Fn(&Kept) -> bool) -> impl Iterator<Item = (PersonaId, u64)> {
        self.chains.values().filter_map(move |chain| {
            let ((first, oldest), (last, _)) = (chain.first_key_value()?, chain.last_key_value()?);
            let oldest = self.kept.get(oldest)?;
            let before = if whole(oldest) { 0 } else { first.saturating_sub(1) };
            let missing = last.saturating_sub(before).saturating_sub(chain.len() as u64);
            (missing > 0).then_some((oldest.persona, missing))
        })
    }

    /// Somebody has this envelope.
    pub(crate) fn hear_of(&mut self, id: EnvelopeId) {
        if !self.kept.contains_key(&id) && self.unknown.len() < UNKNOWN_MAX {
            self.unknown.insert(id);
        }
    }

    /// Envelopes that others have or come after, and that are not here: lost on the way, or from before this member came.
    pub(crate) fn unknown(&self) -> usize {
        self.unknown.len()
    }

    /// What the next envelope names as causal parents: the newest ones, sorted.
    pub(crate) fn parents_now(&self) -> Vec<EnvelopeId> {
        let mut newest: Vec<_> = self.newest.iter().filter_map(|id| Some((self.places.get(id)?, *id))).collect();
        newest.sort_unstable();
        let mut parents: Vec<_> = newest.iter().rev().take(ENVELOPE_PARENTS_MAX).map(|(_, id)| *id).collect();
        parents.sort_unstable();
        parents
    }

    /// The row of a message, folded.
    pub(crate) fn row(&self, message: &MessageId) -> Option<Row> {
        let envelope = self.envelope_of(message)?;
        let original = self.kept.get(&envelope).filter(|k| k.says == Says::Post)?;
        let content = original.signed.as_ref().and_then(content_of);
        let mut row = Row {
            message: *message,
            envelope,
            persona: original.persona,
            text: content.as_ref().and_then(|c| c.as_text()).unwrap_or_default().to_owned(),
            topic: content.as_ref().map(|c| c.topic_id.clone()).unwrap_or_default(),
            reply_to: content.as_ref().and_then(|c| c.in_reply_to),
            note: content.as_ref().and_then(|c| c.content_note()).map(str::to_owned),
            sent_at: original.sent_at,
            edited: false,
            retracted: content.is_none(),
            reactions: Reactions::default(),
        };
        let mut about: Vec<_> = self.about.get(message).into_iter().flatten().collect();
        about.sort_unstable_by_key(|id| self.places.get(id));
        let mut active: BTreeMap<MessageId, (PersonaId, &str)> = BTreeMap::new();
        for kept in about.into_iter().filter_map(|id| self.kept.get(id)) {
            let own = kept.persona == original.persona;
            match &kept.says {
                Says::Edit(_) if own => {
                    if let Some(text) =
                        kept.signed.as_ref().and_then(content_of).and_then(|c| c.as_text().map(str::to_owned))
                    {
                        row.text = text;
                        row.edited = true;
                    }
                }
                Says::Retract(_) if own => row.retracted = true,
                Says::React(_, word) => {
                    active.insert(kept.message, (kept.persona, word));
                }
                Says::Unreact(_, reaction) => {
                    if active.get(reaction).is_some_and(|(p, _)| *p == kept.persona) {
                        active.remove(reaction);
                    }
                }
                Says::Edit(_) | Says::Retract(_) | Says::Post | Says::Unknown => {}
            }
        }
        if row.retracted {
            row.text = String::new();
            row.note = None;
        }
        for (persona, word) in active.into_values() {
            if let Some(list) = reaction_list(&mut row.reactions, word).filter(|l| !l.contains(&persona)) {
                list.push(persona);
            }
        }
        for list in [&mut row.reactions.with_you, &mut row.reactions.me_too, &mut row.reactions.thank_you] {
            list.sort_unstable();
        }
        Some(row)
    }

    /// The message by which `persona` reacts to `target` with `word`, if it does now.
    pub(crate) fn active_reaction(&self, target: &MessageId, persona: &PersonaId, word: &str) -> Option<MessageId> {
        let about: Vec<_> = self.about.get(target)?.iter().filter_map(|id| self.kept.get(id)).collect();
        let mine = about.iter().filter(|k| k.persona == *persona);
        let taken: BTreeSet<_> =
            mine.clone().filter_map(|k| if let Says::Unreact(_, r) = &k.says { Some(*r) } else { None }).collect();
        mine.filter(|k| matches!(&k.says, Says::React(_, w) if w == word))
            .map(|k| k.message)
            .find(|m| !taken.contains(m))
    }

    /// Rows in order, between two places, exclusive.
    pub(crate) fn rows_between(
        &self,
        after: Option<Place>,
        before: Option<Place>,
    ) -> impl DoubleEndedIterator<Item = MessageId> + '_ {
        use std::ops::Bound::{Excluded, Unbounded};
        let after = after.map_or(Unbounded, Excluded);
        let before = before.map_or(Unbounded, Excluded);
        let empty = matches!((&after, &before), (Excluded(a), Excluded(b)) if a >= b);
        let range = (!empty).then(|| self.rows.range((after, before)));
        range.into_iter().flatten().map(|(place, _)| place.2)
    }

    /// Destroys the bodies of a retracted row: the original and its edits. Returns what changed.
    pub(crate) fn forget(&mut self, message: &MessageId) -> Vec<EnvelopeId> {
        let Some(original) = self.envelope_of(message) else { return Vec::new() };
        let Some(author) = self.kept.get(&original).map(|k| k.persona) else { return Vec::new() };
        let edits = self.about.get(message).into_iter().flatten().copied();
        let mut gone = Vec::new();
        for id in edits.chain([original]).collect::<Vec<_>>() {
            if let Some(kept) = self.kept.get_mut(&id) {
                let body = matches!(kept.says, Says::Post | Says::Edit(_));
                if body && kept.persona == author && kept.signed.take().is_some() {
                    gone.push(id);
                }
            }
        }
        gone
    }

    /// Destroys what has expired. Returns the envelopes, and the rows that are gone.
    pub(crate) fn expire(&mut self, now: Timestamp) -> Vec<(EnvelopeId, MessageId)> {
        let due: Vec<_> = self.expiring.range(..=(now.0 / 1000, EnvelopeId([0xff; 32]))).copied().collect();
        let mut gone = Vec::new();
        for (at, id) in due {
            self.expiring.remove(&(at, id));
            if let Some(kept) = self.kept.get_mut(&id) {
                kept.signed = None;
                gone.push((id, kept.message));
                if kept.says == Says::Post {
                    self.places.get(&id).and_then(|p| self.rows.remove(p));
                }
            }
        }
        gone
    }

    /// When the next one expires.
    pub(crate) fn next_expiry(&self) -> Option<Timestamp> {
        self.expiring.first().map(|(s, _)| Timestamp(s.saturating_mul(1000)))
    }
}

/// The list of a reaction's word; `None` for a word that this version does not know.
fn reaction_list<'a>(reactions: &'a mut Reactions, word: &str) -> Option<&'a mut Vec<PersonaId>> {
    match word {
        "with_you" => Some(&mut reactions.with_you),
        "me_too" => Some(&mut reactions.me_too),
        "thank_you" => Some(&mut reactions.thank_you),
        _ => None,
    }
}

/// The word of a reaction on the wire.
pub(crate) fn reaction_word(reaction: Reaction) -> &'static str {
    match reaction {
        Reaction::WithYou => "with_you",
        Reaction::MeToo => "me_too",
        Reaction::ThankYou => "thank_you",
    }
}

fn content_of(signed: &SignedEnvelope) -> Option<Content> {
    signed.open().ok().and_then(|e| Content::decode(&e.body).ok())
}

impl Kept {
    /// As it lies on disk.
    pub(crate) fn to_row(&self) -> Vec<u8> {
        cbor::to_vec(self)
    }

    /// Back from disk.
    pub(crate) fn from_row(row: &[u8]) -> Option<Self> {
        minicbor::decode(row).ok()
    }
}

#[cfg(test)]
mod tests;
