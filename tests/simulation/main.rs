//! The simulator: the real saga and shard machines in a world of nodes, a store, participants and clients, on virtual time,
//! with every fault that they have to survive; and a checker that reads what happened. One seed, one history.
//!
//! ```text
//! generator ▸ definitions      plan ▸ what goes wrong       dice ▸ the only chance
//! world ▸ time and events      node, lane, ways, committer, suspect, book ▸ the pump around the core
//! store, statements, expiry    participant, network          clients, operators          members, disturbances
//! history ▸ what happened      checker ▸ I1 … I50            marks ▸ it happened at all
//! plant, planted ▸ bugs that the checker has to see          campaign ▸ many worlds
//! ```

mod beginning;
mod book;
mod campaign;
mod clients;
mod committer;
mod dice;
mod disturbances;
mod expiry;
mod facts;
mod family;
mod generator;
mod history;
mod lane;
mod marks;
mod members;
mod network;
mod node;
mod operators;
mod participant;
mod plan;
mod plant;
mod planted;
mod replay;
mod statements;
mod store;
mod suspect;
mod ways;
mod world;

mod checker;
