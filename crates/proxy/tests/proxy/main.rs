//! The proxy over real connections: agents on one side, scripted or misbehaving models on the other.

#[cfg(test)]
mod capture;
#[cfg(test)]
mod durability;
#[cfg(test)]
mod endpoints;
#[cfg(test)]
mod failures;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod records;
#[cfg(test)]
mod routes;
#[cfg(test)]
mod streams;
#[cfg(test)]
mod support;
