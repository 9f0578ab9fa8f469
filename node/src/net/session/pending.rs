//! The requests of a session: waiting, and under way. Pure bookkeeping, without clock or socket.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use hearth_protocol::{
    id::QueueId,
    mailbox::{Action, Answer, queue_id},
};
use tokio::time::Instant;

use super::Request;
use crate::engine::lane::Ticket;

/// Requests sent and not yet answered.
pub(super) const UNDER_WAY_MAX: usize = 256;
/// Requests that wait for their turn. What is more is answered `Unreachable`, and the engine asks again.
const WAITING_MAX: usize = 4_096;

/// Which answers fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Create,
    Put,
    Read,
    SlotWrite,
    SlotGet,
}

impl Kind {
    fn of(action: &Action) -> Self {
        match action {
            Action::Create { .. } => Self::Create,
            Action::Put { .. } => Self::Put,
            Action::Get { .. } | Action::Subscribe { .. } => Self::Read,
            Action::SlotPut { .. } | Action::SlotRotate { .. } => Self::SlotWrite,
            Action::SlotGet { .. } => Self::SlotGet,
        }
    }

    fn fits(self, answer: &Answer) -> bool {
        match answer {
            Answer::Refused(_) => true,
            Answer::Created => self == Self::Create,
            Answer::Stored { .. } => self == Self::Put,
            Answer::Blobs { .. } => self == Self::Read,
            Answer::SlotStored => self == Self::SlotWrite,
            Answer::Slot { .. } => self == Self::SlotGet,
        }
    }
}

fn queue_of(action: &Action) -> Option<QueueId> {
    match action {
        Action::Create { write_pk, read_pk, kind, .. } => Some(queue_id(write_pk, read_pk, *kind)),
        Action::Put { queue, .. } | Action::Get { queue, .. } | Action::Subscribe { queue, .. } => Some(*queue),
        Action::SlotPut { .. } | Action::SlotRotate { .. } | Action::SlotGet { .. } => None,
    }
}

#[derive(Debug)]
struct UnderWay {
    ticket: Ticket,
    kind: Kind,
    /// Known once the request has left: a slow line is not the relay's fault.
    answer_by: Option<Instant>,
}

/// What to do with a request now.
#[derive(Debug)]
pub(super) enum Turn {
    /// Send it under this id.
    Send(u64, Request),
    /// Find its proof of work first, for this queue.
    Solve(QueueId, Request),
}

/// The requests of one session.
#[derive(Debug, Default)]
pub(super) struct Pending {
    waiting: VecDeque<Request>,
    under_way: BTreeMap<u64, UnderWay>,
    solving: Option<(QueueId, Ticket)>,
    last_id: u64,
}

impl Pending {
    /// Takes a request in; its ticket back when too many wait.
    pub(super) fn push(&mut self, request: Request) -> Result<(), Ticket> {
        if self.waiting.len() >= WAITING_MAX {
            return Err(request.ticket);
        }
        self.waiting.push_back(request);
        Ok(())
    }

    /// The next request that may go. What concerns a queue keeps its order: nothing overtakes a CREATE whose
    /// proof of work is still being sought, other queues do not wait for it.
    pub(super) fn turn(&mut self) -> Option<Turn> {
        if self.under_way.len() >= UNDER_WAY_MAX {
            return None;
        }
        let mut held: BTreeSet<QueueId> = self.solving.iter().map(|(queue, _)| *queue).collect();
        let mut found = None;
        for (at, request) in self.waiting.iter().enumerate() {
            let queue = queue_of(&request.action);
            let is_held = queue.is_some_and(|queue| held.contains(&queue));
            let must_solve = matches!(request.action, Action::Create { .. });
            match queue {
                Some(queue) if must_solve && self.solving.is_some() => {
                    held.insert(queue);
                }
                _ if is_held => {}
                _ => {
                    found = Some((at, queue.filter(|_| must_solve)));
                    break;
                }
            }
        }
        let (at, solve) = found?;
        let request = self.waiting.remove(at)?;
        Some(match solve {
            Some(queue) => {
                self.solving = Some((queue, request.ticket));
                Turn::Solve(queue, request)
            }
            None => self.depart(request),
        })
    }

    /// A request whose proof of work is found goes next.
    pub(super) fn solved(&mut self, request: Request) -> Turn {
        self.solving = None;
        self.depart(request)
    }

    fn depart(&mut self, request: Request) -> Turn {
        self.last_id += 1;
        let entry = UnderWay { ticket: request.ticket, kind: Kind::of(&request.action), answer_by: None };
        self.under_way.insert(self.last_id, entry);
        Turn::Send(self.last_id, request)
    }

    /// The request has left; the relay owes the answer by then.
    pub(super) fn written(&mut self, id: u64, answer_by: Instant) {
        if let Some(entry) = self.under_way.get_mut(&id) {
            entry.answer_by = Some(answer_by);
        }
    }

    /// The ticket that this answer is for; `None` if it answers nothing that was asked.
    pub(super) fn answered(&mut self, id: u64, answer: &Answer) -> Option<Ticket> {
        if !self.under_way.get(&id)?.kind.fits(answer) {
            return None;
        }
        self.under_way.remove(&id).map(|entry| entry.ticket)
    }

    /// When the next answer is overdue. Requests leave in the order of their ids, so the first is the earliest.
    pub(super) fn answer_by(&self) -> Option<Instant> {
        self.under_way.first_key_value().and_then(|(_, entry)| entry.answer_by)
    }

    /// All that is left when the session ends: under way, then waiting.
    pub(super) fn finish(self) -> (Vec<Ticket>, Vec<Ticket>) {
        let under_way = self.under_way.into_values().map(|entry| entry.ticket).collect();
        let solving = self.solving.map(|(_, ticket)| ticket);
        (under_way, solving.into_iter().chain(self.waiting.into_iter().map(|request| request.ticket)).collect())
    }
}

#[cfg(test)]
mod tests {
    use hearth_protocol::mailbox::QueueKind;

    use super::*;

    fn create(ticket: u64, key: u8) -> Request {
        let action = Action::Create { write_pk: [key; 32], read_pk: [key; 32], kind: QueueKind::Daily, pow: 0 };
        Request { ticket: Ticket(ticket), action, signer: None }
    }

    fn put(ticket: u64, key: u8) -> Request {
        let queue = queue_id(&[key; 32], &[key; 32], QueueKind::Daily);
        Request { ticket: Ticket(ticket), action: Action::Put { queue, blob: Vec::new() }, signer: None }
    }

    fn sent(turn: Option<Turn>) -> (u64, u64) {
        match turn {
            Some(Turn::Send(id, request)) => (id, request.ticket.0),
            other => panic!("not sent: {other:?}"),
        }
    }

    #[test]
    fn nothing_overtakes_a_create_of_its_own_queue() {
        let mut pending = Pending::default();
        for request in [create(1, 1), put(2, 1), create(3, 2), put(4, 2), put(5, 3)] {
            pending.push(request).unwrap();
        }
        let Some(Turn::Solve(_, first)) = pending.turn() else { panic!("the first create is solved first") };
        assert_eq!(first.ticket, Ticket(1));
        assert_eq!(sent(pending.turn()).1, 5, "the one queue that waits for nothing");
        assert!(pending.turn().is_none());
        assert_eq!(sent(Some(pending.solved(first))).1, 1);
        assert_eq!(sent(pending.turn()).1, 2);
        let Some(Turn::Solve(_, second)) = pending.turn() else { panic!("then the second") };
        assert_eq!(second.ticket, Ticket(3));
        assert!(pending.turn().is_none());
    }

    #[test]
    fn an_answer_must_fit_its_question() {
        let mut pending = Pending::default();
        pending.push(put(7, 1)).unwrap();
        let (id, _) = sent(pending.turn());
        assert_eq!(pending.answered(id, &Answer::Created), None);
        assert_eq!(pending.answered(id + 1, &Answer::Stored { seq: 1 }), None);
        assert_eq!(pending.answered(id, &Answer::Stored { seq: 1 }), Some(Ticket(7)));
        assert_eq!(pending.answered(id, &Answer::Stored { seq: 1 }), None, "once");
    }

    #[test]
    fn both_lists_are_bounded_and_every_ticket_comes_back() {
        let mut pending = Pending::default();
        let total = WAITING_MAX as u64;
        for ticket in 0..total {
            pending.push(put(ticket, 1)).unwrap();
        }
        assert_eq!(pending.push(put(total, 1)), Err(Ticket(total)));
        for _ in 0..UNDER_WAY_MAX {
            sent(pending.turn());
        }
        assert!(pending.turn().is_none());
        let (under_way, waiting) = pending.finish();
        assert_eq!((under_way.len(), under_way.len() + waiting.len()), (UNDER_WAY_MAX, WAITING_MAX));
    }
}
