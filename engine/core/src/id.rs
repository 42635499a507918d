//! Ids: of sagas, shards, databases and operations. They are built from arguments; nobody draws them here.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use amends_definitions::StepIndex;
use uuid::Uuid;

use crate::key::hash_64;
use crate::outcome::OperationKind;
use crate::time::Time;

/// The unit of ownership, order and distribution; 0 up to the database's shard count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u16);

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A saga's id: UUIDv8 of 48 bits Unix milliseconds, 12 bits shard, 62 random bits. So an id tells its shard and sorts by time.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SagaId(Uuid);

impl Ord for SagaId {
    /// As numbers: shards look sagas up all the time, and comparing bytes one by one shows.
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.as_u128().cmp(&other.0.as_u128())
    }
}

impl PartialOrd for SagaId {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl SagaId {
    /// Builds an id from its parts; of `random`, the low 62 bits are used.
    #[must_use]
    pub fn new(now: Time, shard: ShardId, random: u64) -> Self {
        let millis = u128::from(now.as_millis()) & 0xffff_ffff_ffff;
        let value = (millis << 80)
            | (0x8 << 76)
            | (u128::from(shard.0 & 0x0fff) << 64)
            | (0b10 << 62)
            | u128::from(random & 0x3fff_ffff_ffff_ffff);
        Self(Uuid::from_u128(value))
    }

    /// The id of a child: its parent's time, the child's own home shard, and a hash of the parent and of the place that
    /// asks for it. So it is the same however often it is asked for.
    #[must_use]
    pub fn child(parent: SagaId, step: &str, item: u32, round: u32, shard: ShardId) -> Self {
        let mut name = Vec::with_capacity(32 + step.len());
        name.extend_from_slice(parent.0.as_bytes());
        name.extend_from_slice(&item.to_le_bytes());
        name.extend_from_slice(&round.to_le_bytes());
        name.extend_from_slice(step.as_bytes());
        let value = (parent.0.as_u128() >> 80 << 80)
            | (0x8 << 76)
            | (u128::from(shard.0 & 0x0fff) << 64)
            | (0b10 << 62)
            | u128::from(hash_64(&name) & 0x3fff_ffff_ffff_ffff);
        Self(Uuid::from_u128(value))
    }

    /// Takes a UUID of the right version.
    ///
    /// # Errors
    /// If it is not a UUIDv8.
    pub fn from_uuid(uuid: Uuid) -> Result<Self, InvalidId> {
        if uuid.get_version_num() == 8 && uuid.get_variant() == uuid::Variant::RFC4122 {
            Ok(Self(uuid))
        } else {
            Err(InvalidId)
        }
    }

    /// The UUID.
    #[must_use]
    pub fn as_uuid(self) -> Uuid {
        self.0
    }

    /// The shard that the saga lives in.
    #[must_use]
    pub fn shard(self) -> ShardId {
        ShardId(u16::try_from((self.0.as_u128() >> 64) & 0x0fff).unwrap_or(0))
    }
}

impl fmt::Display for SagaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl fmt::Debug for SagaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SagaId({self})")
    }
}

impl FromStr for SagaId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        // The canonical form alone, so that an id has one spelling.
        let uuid = Uuid::try_parse(text).map_err(|_| InvalidId)?;
        if uuid.hyphenated().to_string() != text {
            return Err(InvalidId);
        }
        Self::from_uuid(uuid)
    }
}

/// Where in a saga something is done: a step, or one of its items under `foreach`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The step.
    pub step: StepIndex,
    /// The item, from 1; 0 is the step itself.
    pub item: u32,
}

impl Place {
    /// An item of a step.
    #[must_use]
    pub fn item(step: StepIndex, item: u32) -> Self {
        Self { step, item }
    }
}

impl From<StepIndex> for Place {
    /// The step itself.
    fn from(step: StepIndex) -> Self {
        Self { step, item: 0 }
    }
}

/// Names an operation within its saga, as those do who do not know the definition: participants and the dispatcher.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationName {
    /// The step's id.
    pub step: Arc<str>,
    /// The item under `foreach`, from 1; 0 is the step itself.
    pub item: u32,
    /// From 0.
    pub round: u32,
    /// Which operation.
    pub operation: OperationKind,
}

/// Names an attempt, as those do who do not know the definition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptName {
    /// The saga.
    pub saga: SagaId,
    /// Which operation of it.
    pub name: OperationName,
    /// Which attempt, from 1.
    pub attempt: u32,
}

/// The text or number is not such an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an id that this system gave out")]
pub struct InvalidId;

/// One life of a database: a new one after a restore, so that what an older life sent is told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub Uuid);

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.simple().fmt(f)
    }
}

/// Names an operation for ever, on the wire, in a barrier, for idempotency:
/// `{incarnation}/{namespace}/{saga}/{step}/{item}/{round}/{operation}`. Its attempts share it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationKey {
    /// The database's incarnation.
    pub incarnation: Incarnation,
    /// The saga's namespace.
    pub namespace: Arc<str>,
    /// The saga.
    pub saga: SagaId,
    /// The step's id.
    pub step: Arc<str>,
    /// The item under `foreach`, from 1; 0 is the step itself.
    pub item: u32,
    /// From 0; a new one begins when an operator retries with new input.
    pub round: u32,
    /// Which operation.
    pub operation: OperationKind,
}

impl OperationKey {
    /// As text, which crosses the wire with every command, result and answer: put together by hand, because formatting
    /// shows in profiles.
    #[must_use]
    pub fn to_text(&self) -> String {
        let (mut incarnation, mut saga) = (Uuid::encode_buffer(), Uuid::encode_buffer());
        let parts = [
            &*self.incarnation.0.simple().encode_lower(&mut incarnation),
            &*self.namespace,
            &*self.saga.0.hyphenated().encode_lower(&mut saga),
            &*self.step,
        ];
        let operation = self.operation.as_str();
        let bytes: usize = parts.iter().map(|part| part.len() + 1).sum();
        let mut text = String::with_capacity(bytes + operation.len() + 2 * NUMBER_BYTES);
        for part in parts {
            text.push_str(part);
            text.push('/');
        }
        for number in [self.item, self.round] {
            match number {
                0 => text.push('0'),
                number => text.push_str(&number.to_string()),
            }
            text.push('/');
        }
        text.push_str(operation);
        text
    }
}

/// Room for a small number and what divides it from the next.
const NUMBER_BYTES: usize = 4;

impl fmt::Display for OperationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text())
    }
}

impl FromStr for OperationKey {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let mut parts = text.split('/');
        let mut next = || {
            parts
                .next()
                .filter(|part| !part.is_empty())
                .ok_or(InvalidId)
        };
        let key = Self {
            incarnation: incarnation(next()?)?,
            namespace: next()?.into(),
            saga: saga(next()?)?,
            step: next()?.into(),
            item: number(next()?)?,
            round: number(next()?)?,
            operation: OperationKind::parse(next()?).ok_or(InvalidId)?,
        };
        match parts.next() {
            None => Ok(key),
            Some(_) => Err(InvalidId),
        }
    }
}

// One spelling for each key: a part that does not print as it was read makes it no key.

fn incarnation(text: &str) -> Result<Incarnation, InvalidId> {
    let uuid = Uuid::try_parse(text).map_err(|_| InvalidId)?;
    let same = *uuid.simple().encode_lower(&mut Uuid::encode_buffer()) == *text;
    same.then_some(Incarnation(uuid)).ok_or(InvalidId)
}

fn saga(text: &str) -> Result<SagaId, InvalidId> {
    let saga: SagaId = text.parse()?;
    let same = *saga.0.hyphenated().encode_lower(&mut Uuid::encode_buffer()) == *text;
    same.then_some(saga).ok_or(InvalidId)
}

fn number(text: &str) -> Result<u32, InvalidId> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let same = digits && (text == "0" || !text.starts_with('0'));
    let number = text.parse().ok().filter(|_| same);
    number.ok_or(InvalidId)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> SagaId {
        SagaId::new(
            Time::from_micros(1_763_712_000_123_456),
            ShardId(0xabc),
            u64::MAX,
        )
    }

    #[test]
    fn a_saga_id_tells_its_shard_and_its_text_is_frozen() {
        assert_eq!(id().to_string(), "019aa56d-607b-8abc-bfff-ffffffffffff");
        assert_eq!(id().shard(), ShardId(0xabc));
        assert_eq!(id().to_string().parse(), Ok(id()));
    }

    #[test]
    fn ids_sort_by_time() {
        let later = SagaId::new(Time::from_micros(1_763_712_000_124_456), ShardId(0), 0);
        assert!(id() < later);
    }

    #[test]
    fn other_spellings_and_versions_are_refused() {
        assert!(
            "019AA56D-607B-8ABC-BFFF-FFFFFFFFFFFF"
                .parse::<SagaId>()
                .is_err()
        );
        assert!(
            "936da01f-9abd-4d9d-80c7-02af85c822a8"
                .parse::<SagaId>()
                .is_err()
        );
        assert!("".parse::<SagaId>().is_err());
    }

    #[test]
    fn an_operation_key_reads_back_and_nothing_else_does() {
        let key = OperationKey {
            incarnation: Incarnation(Uuid::from_u128(7)),
            namespace: "default".into(),
            saga: id(),
            step: "charge".into(),
            item: 0,
            round: 0,
            operation: OperationKind::Compensate,
        };
        let text = key.to_string();
        assert_eq!(text.parse(), Ok(key));
        for broken in [
            format!("{text}/x"),
            text.replace("/0/0/", "/00/0/"),
            text.replace("compensate", "undo"),
            text.replace("default", ""),
            String::new(),
        ] {
            assert_eq!(broken.parse::<OperationKey>(), Err(InvalidId), "{broken}");
        }
    }
}
