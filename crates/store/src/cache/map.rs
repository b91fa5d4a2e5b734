//! An ordered map of objects whose copy costs one reference count.
//!
//! A LIST works on a copy, without a lock and without being disturbed by writes. A write copies only the chunk that it
//! changes and, while a copy is alive, the vector of chunks (one pointer per 64 to 256 objects).

use std::sync::Arc;

use super::event::Object;

/// Objects per chunk at most; a full chunk splits in two. 256 pointers = 2 KiB, copied in about 1 us.
const CHUNK: usize = 256;

/// Objects by key, in byte order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Map {
    /// No chunk is empty.
    chunks: Arc<Vec<Arc<Vec<Arc<Object>>>>>,
    len: usize,
}

/// A place between two objects: chunk and offset in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place(usize, usize);

impl Map {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Arc<Object>> {
        let (chunk, offset) = self.search(key).ok()?;
        Some(&self.chunks[chunk][offset])
    }

    /// Puts the object at its key; returns what was there.
    pub(crate) fn insert(&mut self, object: Arc<Object>) -> Option<Arc<Object>> {
        match self.search(object.key()) {
            Ok((chunk, offset)) => Some(std::mem::replace(&mut self.chunk_mut(chunk)[offset], object)),
            Err((chunk, offset)) => {
                self.insert_at(chunk, offset, object);
                None
            }
        }
    }

    /// Takes the object away.
    pub(crate) fn remove(&mut self, key: &str) -> Option<Arc<Object>> {
        let (chunk, offset) = self.search(key).ok()?;
        let objects = self.chunk_mut(chunk);
        let object = objects.remove(offset);
        if objects.is_empty() {
            Arc::make_mut(&mut self.chunks).remove(chunk);
        }
        self.len -= 1;
        Some(object)
    }

    /// The place before the first object whose key is >= `key`.
    pub(crate) fn lower_bound(&self, key: &str) -> Place {
        match self.search(key) {
            Ok((chunk, offset)) | Err((chunk, offset)) => Place(chunk, offset),
        }
    }

    /// The place before the first object whose key is > `key`.
    pub(crate) fn upper_bound(&self, key: &str) -> Place {
        match self.search(key) {
            Ok((chunk, offset)) => Place(chunk, offset + 1),
            Err((chunk, offset)) => Place(chunk, offset),
        }
    }

    /// The place after the last object.
    pub(crate) fn end(&self) -> Place {
        Place(self.chunks.len(), 0)
    }

    /// Objects between two places.
    pub(crate) fn count(&self, from: Place, to: Place) -> usize {
        if from >= to {
            return 0;
        }
        let whole: usize = self.chunks.get(from.0..to.0).unwrap_or_default().iter().map(|chunk| chunk.len()).sum();
        whole + to.1 - from.1
    }

    /// The objects between two places, in order.
    pub(crate) fn between(&self, from: Place, to: Place) -> impl Iterator<Item = &Arc<Object>> + Clone {
        let last = to.0 + usize::from(to.1 > 0);
        (from.0..last).flat_map(move |number| {
            let chunk: &[Arc<Object>] = self.chunks.get(number).map_or(&[], |chunk| chunk.as_slice());
            let start = if number == from.0 { from.1.min(chunk.len()) } else { 0 };
            let end = if number == to.0 { to.1.min(chunk.len()) } else { chunk.len() };
            chunk[start..end.max(start)].iter()
        })
    }

    /// All objects in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Object>> {
        self.chunks.iter().flat_map(|chunk| chunk.iter())
    }

    /// Where the key is (`Ok`) or would be put (`Err`): an offset up to its chunk's length, chunk 0 of an empty map.
    fn search(&self, key: &str) -> Result<(usize, usize), (usize, usize)> {
        let after = self.chunks.partition_point(|chunk| chunk[0].key() <= key);
        let Some(chunk) = after.checked_sub(1) else { return Err((0, 0)) };
        match self.chunks[chunk].binary_search_by(|object| object.key().cmp(key)) {
            Ok(offset) => Ok((chunk, offset)),
            Err(offset) => Err((chunk, offset)),
        }
    }

    fn chunk_mut(&mut self, chunk: usize) -> &mut Vec<Arc<Object>> {
        Arc::make_mut(&mut Arc::make_mut(&mut self.chunks)[chunk])
    }

    fn insert_at(&mut self, chunk: usize, offset: usize, object: Arc<Object>) {
        self.len += 1;
        let chunks = Arc::make_mut(&mut self.chunks);
        if chunks.is_empty() {
            chunks.push(Arc::new(vec![object]));
            return;
        }
        let objects = Arc::make_mut(&mut chunks[chunk]);
        objects.insert(offset, object);
        if objects.len() > CHUNK {
            // Keys that arrive in order fill chunks: the last one is not halved.
            let at = if offset == CHUNK && chunk + 1 == chunks.len() { CHUNK } else { CHUNK / 2 };
            let upper = Arc::make_mut(&mut chunks[chunk]).split_off(at);
            chunks.insert(chunk + 1, Arc::new(upper));
        }
    }
}

#[cfg(test)]
mod tests;
