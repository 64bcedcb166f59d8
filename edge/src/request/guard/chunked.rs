//! Chunked content, taken apart piece by piece as it arrives.
//!
//! RFC 9112 §7.1. Called by `framework::front` with its read buffer. Strict where parsers differ: no chunk extensions, lines end in CR LF, sizes fit
//! 63 bits. Trailer lines are checked and discarded: what is only allowed in a head must not come in late. Takes every byte of the message and
//! none behind it, holds no bytes back, copies none of the content.

use bytes::{Buf, Bytes, BytesMut};
use jet9_config::limits::Limits;

use super::fields::{is_token_byte, is_value_byte};
use super::{Refusal, Rule};

/// What the decoder found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chunked {
    /// Some content, never empty.
    Data(Bytes),
    /// The input is used up and the content has not ended.
    NeedMore,
    /// The content has ended; what is left of the input belongs to the next message.
    End,
}

/// The decoder of one message's content.
#[derive(Clone, Debug)]
pub struct ChunkedDecoder {
    state: State,
    line_bytes_max: u64,
    trailer_bytes_left: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In a chunk-size line, after this many digits.
    Size { size: u64, digits: u64 },
    /// After the CR of a chunk-size line.
    SizeLf { size: u64 },
    /// In a chunk, with this many bytes to come.
    Data { left: u64 },
    /// After a chunk.
    DataCr,
    /// After the CR behind a chunk.
    DataLf,
    /// Before a trailer line or the last, empty one.
    TrailerLine,
    /// In the name of a trailer field.
    TrailerName,
    /// In the value of a trailer field.
    TrailerValue,
    /// After the CR of a trailer line.
    TrailerLf,
    /// After the CR of the last line.
    LastLf,
    /// After the message.
    End,
    /// Behind a rule that was broken.
    Refused(Rule),
}

impl State {
    const CHUNK: Self = Self::Size { size: 0, digits: 0 };
}

impl ChunkedDecoder {
    /// A decoder at the beginning of the content.
    pub const fn new(limits: &Limits) -> Self {
        Self {
            state: State::CHUNK,
            line_bytes_max: limits.chunk_line_bytes,
            trailer_bytes_left: limits.head_bytes,
        }
    }

    /// Takes what the input allows, up to the next piece of content. To be called until it wants more or has ended.
    ///
    /// # Errors
    /// When a rule is broken, now and at every further call: the input is of no more use.
    pub fn decode(&mut self, input: &mut BytesMut) -> Result<Chunked, Refusal> {
        loop {
            match self.state {
                State::Data { left } => return Ok(self.take_data(left, input)),
                State::End => return Ok(Chunked::End),
                State::Refused(rule) => return Err(rule.into()),
                _ => {}
            }
            let Some(&byte) = input.first() else {
                return Ok(Chunked::NeedMore);
            };
            input.advance(1);
            self.state = self.step(byte).unwrap_or_else(State::Refused);
        }
    }

    /// Whether the content has ended.
    pub fn has_ended(&self) -> bool {
        self.state == State::End
    }

    fn take_data(&mut self, left: u64, input: &mut BytesMut) -> Chunked {
        if input.is_empty() {
            return Chunked::NeedMore;
        }
        let taken = usize::try_from(left).map_or(input.len(), |left| left.min(input.len()));
        self.state = match left - taken as u64 {
            0 => State::DataCr,
            left => State::Data { left },
        };
        Chunked::Data(input.split_to(taken).freeze())
    }

    fn step(&mut self, byte: u8) -> Result<State, Rule> {
        match (self.state, byte) {
            (State::Size { size, digits }, _) => self.step_in_size(size, digits, byte),
            (State::SizeLf { size: 0 }, b'\n') => Ok(State::TrailerLine),
            (State::SizeLf { size }, b'\n') => Ok(State::Data { left: size }),
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => Ok(State::CHUNK),
            (State::SizeLf { .. } | State::DataCr | State::DataLf, _) => Err(Rule::ChunkLineEnd),
            (state, _) => self.step_in_trailers(state, byte),
        }
    }

    fn step_in_size(&self, size: u64, digits: u64, byte: u8) -> Result<State, Rule> {
        // The two more are CR and LF.
        if digits + 2 > self.line_bytes_max {
            return Err(Rule::ChunkLineBytes);
        }
        if let Some(digit) = char::from(byte).to_digit(16) {
            let size = (size.checked_mul(16))
                .map(|size| size + u64::from(digit))
                .filter(|&size| i64::try_from(size).is_ok())
                .ok_or(Rule::ChunkSize)?;
            let digits = digits + 1;
            return Ok(State::Size { size, digits });
        }
        match byte {
            _ if digits == 0 => Err(Rule::ChunkSize),
            b'\r' => Ok(State::SizeLf { size }),
            b'\n' => Err(Rule::ChunkLineEnd),
            b';' | b' ' | b'\t' => Err(Rule::ChunkExtension),
            _ => Err(Rule::ChunkSize),
        }
    }

    fn step_in_trailers(&mut self, state: State, byte: u8) -> Result<State, Rule> {
        self.trailer_bytes_left = (self.trailer_bytes_left)
            .checked_sub(1)
            .ok_or(Rule::TrailerBytes)?;
        match (state, byte) {
            (State::TrailerLine, b'\r') => Ok(State::LastLf),
            (State::TrailerLine | State::TrailerName, _) if is_token_byte(byte) => {
                Ok(State::TrailerName)
            }
            (State::TrailerName, b':') => Ok(State::TrailerValue),
            (State::TrailerValue, b'\r') => Ok(State::TrailerLf),
            (State::TrailerValue, _) if is_value_byte(byte) => Ok(State::TrailerValue),
            (State::TrailerLf, b'\n') => Ok(State::TrailerLine),
            (State::LastLf, b'\n') => Ok(State::End),
            _ => Err(Rule::Trailer),
        }
    }
}
