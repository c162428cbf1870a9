//! A block as rows of a table: its layers one by one, with those inside a residual or a concatenation indented.

use crate::block::Block;
use crate::cost::Cost;
use crate::error::ModelError;
use crate::layer::Layer;
use crate::model::Model;
use crate::shape::ShapeError;

/// One line of a table of layers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    /// Steps of indentation.
    pub depth: usize,
    /// The layer's name without that of its block, or its kind.
    pub label: String,
    /// Output shape and own cost; `None` for a heading.
    pub figures: Option<(Vec<usize>, Cost)>,
}

/// A block with its rows and totals.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct BlockRows {
    pub name: String,
    pub output: Vec<usize>,
    pub cost: Cost,
    pub rows: Vec<Row>,
}

impl BlockRows {
    /// Whether the two differ in nothing but the block's name.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        (&self.output, &self.cost, &self.rows) == (&other.output, &other.cost, &other.rows)
    }
}

/// The rows of every block of a model.
pub(crate) fn block_rows(model: &Model) -> Result<Vec<BlockRows>, ModelError> {
    let mut shape = model.input.to_vec();
    let mut found = Vec::with_capacity(model.blocks.len());
    for block in &model.blocks {
        let rows = one_block(block, &shape).map_err(|reason| model.shape_error(block, reason))?;
        shape.clone_from(&rows.output);
        found.push(rows);
    }
    Ok(found)
}

fn one_block(block: &Block, input: &[usize]) -> Result<BlockRows, ShapeError> {
    let mut rows = Vec::new();
    let prefix = format!("{}.", block.name);
    let output = add_rows(&block.layers, input, &prefix, 1, &mut rows)?;
    Ok(BlockRows {
        name: block.name.clone(),
        output,
        cost: block.cost(input)?,
        rows,
    })
}

/// Adds the rows of a sequence of layers and returns the shape that it ends in.
fn add_rows(
    layers: &[Layer],
    input: &[usize],
    prefix: &str,
    depth: usize,
    rows: &mut Vec<Row>,
) -> Result<Vec<usize>, ShapeError> {
    let mut shape = input.to_vec();
    for layer in layers {
        let output = layer.output_shape(&shape)?;
        let figures = Some((output.clone(), layer.own_cost(&shape)?));
        if let Some(branches) = layer.branches() {
            for (branch, name) in branches.into_iter().zip(["body", "shortcut"]) {
                let identity = if branch.is_empty() { ": identity" } else { "" };
                rows.push(Row {
                    depth,
                    label: format!("{name}{identity}"),
                    figures: None,
                });
                add_rows(branch, &shape, prefix, depth + 1, rows)?;
            }
            let label = match layer {
                Layer::Residual { .. } => "add",
                other => other.kind(),
            };
            rows.push(Row {
                depth,
                label: label.to_owned(),
                figures,
            });
        } else {
            let label = layer.label();
            let label = label.strip_prefix(prefix).unwrap_or(label).to_owned();
            rows.push(Row {
                depth,
                label,
                figures,
            });
        }
        shape = output;
    }
    Ok(shape)
}
