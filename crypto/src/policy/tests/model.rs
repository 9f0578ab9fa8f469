//! A history without forks, against a model so plain that it is right at a glance: a table of roles, changed in place.

use proptest::{prelude::*, test_runner::RngSeed};

use super::*;
use crate::policy::Motion;

#[derive(Default)]
struct Model {
    roles: BTreeMap<u8, Role>,
    left: std::collections::BTreeSet<u8>,
    /// Latest motion of each author about each subject.
    words: BTreeMap<(u8, u8), Motion>,
}

impl Model {
    fn facilitators(&self) -> Vec<u8> {
        self.roles.iter().filter(|(_, r)| **r == Role::Facilitator).map(|(who, _)| *who).collect()
    }

    fn is_facilitator(&self, who: u8) -> bool {
        self.roles.get(&who) == Some(&Role::Facilitator)
    }

    fn admit(&mut self, author: u8, subject: u8) {
        if self.is_facilitator(author) && !self.roles.contains_key(&subject) {
            self.roles.insert(subject, Role::Member);
            self.left.remove(&subject);
        }
    }

    fn leave(&mut self, who: u8) {
        if self.roles.remove(&who).is_some() {
            self.left.insert(who);
        }
    }

    fn decide(&mut self, author: u8, subject: u8, motion: Motion) {
        let role = self.roles.get(&subject).copied();
        let hits = role.is_some() || motion == Motion::Remove && self.left.contains(&subject);
        let same = role.is_some_and(|r| motion == Motion::SetRole(r));
        if !self.is_facilitator(author) || author == subject || !hits || same {
            return;
        }
        let pair = self.facilitators().len() == 2 && self.is_facilitator(subject);
        if pair && author > subject {
            return;
        }
        self.words.remove(&(subject, author));
        if self.is_facilitator(subject) || motion == Motion::SetRole(Role::Facilitator) {
            self.words.insert((subject, author), motion);
            let equal =
                self.words.iter().filter(|((s, a), m)| *s == subject && **m == motion && self.is_facilitator(*a));
            let needed = if pair { 1 } else { self.facilitators().len() / 2 + 1 };
            if equal.count() < needed {
                return;
            }
            self.words.retain(|(s, _), _| *s != subject);
        }
        match motion {
            Motion::Remove => {
                self.roles.remove(&subject);
                self.left.remove(&subject);
            }
            Motion::SetRole(role) => {
                self.roles.insert(subject, role);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 256, failure_persistence: None, rng_seed: RngSeed::Fixed(17), ..ProptestConfig::default()
    })]

    #[test]
    fn a_history_without_forks_reads_like_a_table_changed_in_place(
        steps in prop::collection::vec((0..6u8, 0..6u8, 0..12u8), 0..40),
    ) {
        let mut group = Group::new(3, 2);
        let mut model = Model::default();
        for who in 0..5 {
            model.roles.insert(who, if who < 3 { Role::Facilitator } else { Role::Member });
        }
        for (author, subject, what) in steps {
            let motion = match what {
                0 => Some(Motion::Remove),
                1..5 => Some(Motion::SetRole(Role::Facilitator)),
                5..8 => Some(Motion::SetRole(Role::Member)),
                8 => Some(Motion::SetRole(Role::Reader)),
                _ => None,
            };
            match (motion, what) {
                (Some(motion), _) => {
                    let body = match motion {
                        Motion::Remove => remove(subject),
                        Motion::SetRole(role) => set_role(subject, role),
                    };
                    group.say(author, body);
                    model.decide(author, subject, motion);
                }
                (None, 9) => {
                    group.say(author, OpBody::Leave);
                    model.leave(author);
                }
                _ => {
                    group.say(author, add(subject, Role::Member));
                    model.admit(author, subject);
                }
            }
            let state = group.state();
            let read: BTreeMap<_, _> = (0..6).filter_map(|who| Some((who, state.role_of(&id(who))?))).collect();
            prop_assert_eq!(read, model.roles.clone());
        }
    }
}
