"""Sentences to embed, of several kinds and lengths, so that their embeddings lie apart."""

from typing import Final

SENTENCES: Final = (
    "The bakery on the corner sells out of rye bread before nine in the morning.",
    "Rye bread is what people queue for at the shop down the street.",
    "A storm front will cross the coast tonight, with gusts of up to ninety kilometres an hour.",
    "How do I reset the password of my account?",
    "The court dismissed the appeal because it had been filed two days too late.",
    "She tuned the cello a little flat and played the slow movement again.",
    "Water boils at a lower temperature in the mountains.",
    "Our train was cancelled, so we took the night bus and arrived at dawn.",
    "The patient should take one tablet twice a day, with food.",
    "In the last minute the goalkeeper saved a penalty and the match ended in a draw.",
    "Prices of copper rose by four percent after two mines had closed.",
    "Add the flour slowly, stirring all the time, until the dough no longer sticks.",
    "A neural network with fewer weights needs less memory and often less time.",
    "Pruning apple trees in late winter gives better fruit in autumn.",
    "The function returns an empty list if no record matches the query.",
    "Whales sleep with one half of the brain at a time.",
    "He apologised for the delay and offered to refund the shipping cost.",
    "The museum is closed on Mondays, but the garden stays open all week.",
    "Nobody had expected the small party to win the election in the north.",
    "Turn left after the bridge, then follow the river for about two miles.",
    "The telescope found traces of methane in the planet's thin atmosphere.",
    "My daughter learned to ride a bicycle without training wheels yesterday.",
    "The committee will publish its report on drinking water next spring.",
    "No.",
)

CALIBRATION: Final = (
    "The lighthouse keeper wrote down the weather every evening.",
    "Which bus goes to the airport after midnight?",
    "Interest rates stayed where they were for the third month in a row.",
    "He planted beans along the fence and tomatoes near the wall.",
    "The update fixes a crash that occurred when the disk was full.",
    "After the concert they walked home through the snow.",
    "Vaccines train the immune system without causing the disease.",
    "Please send the signed contract back by Friday.",
)
"""What weights are scored by: none of them is measured."""
