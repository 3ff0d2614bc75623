"""The options of every command that writes captions; `options.py` has all others."""

from __future__ import annotations

from typing import Annotated

import typer

from coca_cli.options import DecodingMethod

DECODING_PANEL = "How captions are written"

DecodingOption = Annotated[
    DecodingMethod,
    typer.Option(
        "--decoding",
        metavar="METHOD",
        help="beam (log-probabilities), greedy, sample, or open-clip-3.3: what open_clip 3.3.0 does unless told "
        "otherwise (two beams on raw logits, 30 positions), for comparison with its numbers.",
        rich_help_panel=DECODING_PANEL,
    ),
]
BeamsOption = Annotated[
    int,
    typer.Option(
        "--beams", min=1, metavar="N", help="Texts that a beam search follows.", rich_help_panel=DECODING_PANEL
    ),
]
LengthPenaltyOption = Annotated[
    float,
    typer.Option(
        "--length-penalty",
        metavar="X",
        help="Beam search ranks by sum of log-probabilities / length ** X: 0 is the sum, 1 the mean per token.",
        rich_help_panel=DECODING_PANEL,
    ),
]
MinLengthOption = Annotated[
    int,
    typer.Option(
        "--min-length", min=1, metavar="N", help="Tokens before a caption may end.", rich_help_panel=DECODING_PANEL
    ),
]
MaxLengthOption = Annotated[
    int,
    typer.Option(
        "--max-length",
        min=1,
        metavar="N",
        help="Tokens at most, the end counted and the prefix not.",
        rich_help_panel=DECODING_PANEL,
    ),
]
TemperatureOption = Annotated[
    float,
    typer.Option(
        "--temperature", min=0.01, metavar="X", help="Samples: divides the logits.", rich_help_panel=DECODING_PANEL
    ),
]
TopKOption = Annotated[
    int,
    typer.Option(
        "--top-k",
        min=0,
        metavar="N",
        help="Samples: of the N most probable tokens; 0 for all.",
        rich_help_panel=DECODING_PANEL,
    ),
]
TopPOption = Annotated[
    float,
    typer.Option(
        "--top-p",
        min=0.01,
        max=1.0,
        metavar="X",
        help="Samples: of the fewest tokens with this probability together.",
        rich_help_panel=DECODING_PANEL,
    ),
]
RepetitionPenaltyOption = Annotated[
    float,
    typer.Option(
        "--repetition-penalty",
        min=0.01,
        metavar="X",
        help="Above 1, words that stand there already become less probable.",
        rich_help_panel=DECODING_PANEL,
    ),
]
PrefixOption = Annotated[
    str,
    typer.Option(
        "--prefix", metavar="TEXT", help="Begin every caption with these words.", rich_help_panel=DECODING_PANEL
    ),
]
NBestOption = Annotated[
    int,
    typer.Option(
        "--n-best",
        min=1,
        metavar="N",
        help="Captions per picture: the best of a search, or so many samples.",
        rich_help_panel=DECODING_PANEL,
    ),
]
