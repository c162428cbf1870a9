//! What a loop reads and writes.

use pulp::Simd;

use super::element::{Element, lanes};

/// Slices of equal length whose values are taken together.
pub(super) struct Operands<'a, D, T, const M: usize> {
    /// The first, and where results go.
    pub(super) first: D,
    pub(super) others: [&'a [T]; M],
}

impl<'a, D: Place<T>, T: Element, const M: usize> Operands<'a, D, T, M> {
    /// # Panics
    /// When lengths differ.
    pub(super) fn new(first: D, others: [&'a [T]; M]) -> Self {
        let len = first.len();
        let same = others.iter().all(|other| other.len() == len);
        assert!(same, "operands must be equally long");
        Self { first, others }
    }

    /// Stretches of `part` values; the last has what is left.
    pub(super) fn parts(self, part: usize) -> Vec<Self> {
        let mut parts = Vec::new();
        let Self {
            first: mut rest,
            mut others,
        } = self;
        while rest.len() > part {
            let (first, behind) = rest.split_at(part);
            rest = behind;
            let mut before = others;
            for (before, other) in before.iter_mut().zip(&mut others) {
                (*before, *other) = other.split_at(part);
            }
            parts.push(Self {
                first,
                others: before,
            });
        }
        parts.push(Self {
            first: rest,
            others,
        });
        parts
    }
}

/// The first operand of a loop, and where results go.
pub(super) trait Place<T: Element>: Sized + Send {
    fn len(&self) -> usize;

    fn split_at(self, middle: usize) -> (Self, Self);

    /// The values from `start` on.
    fn load<S: Simd, const V: usize>(&self, simd: S, start: usize) -> [S::f32s; V];

    /// Puts results where they belong, from `start` on.
    fn store<S: Simd, const V: usize>(&mut self, simd: S, start: usize, results: [S::f32s; V]);
}

/// Results are dropped.
impl<T: Element> Place<T> for &[T] {
    fn len(&self) -> usize {
        <[T]>::len(self)
    }

    fn split_at(self, middle: usize) -> (Self, Self) {
        <[T]>::split_at(self, middle)
    }

    #[inline(always)]
    fn load<S: Simd, const V: usize>(&self, simd: S, start: usize) -> [S::f32s; V] {
        T::load(simd, &self[start..][..V * lanes::<S>()])
    }

    #[inline(always)]
    fn store<S: Simd, const V: usize>(&mut self, _: S, _: usize, _: [S::f32s; V]) {}
}

/// Results take the operand's place.
impl<T: Element> Place<T> for &mut [T] {
    fn len(&self) -> usize {
        <[T]>::len(self)
    }

    fn split_at(self, middle: usize) -> (Self, Self) {
        self.split_at_mut(middle)
    }

    #[inline(always)]
    fn load<S: Simd, const V: usize>(&self, simd: S, start: usize) -> [S::f32s; V] {
        T::load(simd, &self[start..][..V * lanes::<S>()])
    }

    #[inline(always)]
    fn store<S: Simd, const V: usize>(&mut self, simd: S, start: usize, results: [S::f32s; V]) {
        T::store(simd, results, &mut self[start..][..V * lanes::<S>()]);
    }
}

/// Results go to a slice of their own.
pub(super) struct Into<'a, T> {
    from: &'a [T],
    to: &'a mut [T],
}

impl<'a, T> Into<'a, T> {
    /// # Panics
    /// When lengths differ.
    pub(super) fn new(from: &'a [T], to: &'a mut [T]) -> Self {
        assert_eq!(from.len(), to.len(), "operand and result");
        Self { from, to }
    }
}

impl<T: Element> Place<T> for Into<'_, T> {
    fn len(&self) -> usize {
        self.from.len()
    }

    fn split_at(self, middle: usize) -> (Self, Self) {
        let (from, from_behind) = self.from.split_at(middle);
        let (to, to_behind) = self.to.split_at_mut(middle);
        let behind = Self {
            from: from_behind,
            to: to_behind,
        };
        (Self { from, to }, behind)
    }

    #[inline(always)]
    fn load<S: Simd, const V: usize>(&self, simd: S, start: usize) -> [S::f32s; V] {
        T::load(simd, &self.from[start..][..V * lanes::<S>()])
    }

    #[inline(always)]
    fn store<S: Simd, const V: usize>(&mut self, simd: S, start: usize, results: [S::f32s; V]) {
        T::store(simd, results, &mut self.to[start..][..V * lanes::<S>()]);
    }
}
