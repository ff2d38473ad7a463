"""
The prompts of the demo: our own, easy and hard, short and long.
"""

from __future__ import annotations


PROMPTS = (
    "What is the capital of France?",
    "Name a colour.",
    "How many days are in a week?",
    "Translate 'good morning' into Spanish.",
    "What is 2 + 2?",
    "Write one sentence about rain.",
    "Is water wet?",
    "What do bees make?",
    "Which planet is closest to the sun?",
    "Give me a synonym for 'happy'.",
    "What is the opposite of cold?",
    "Say hello.",
    "Who wrote Hamlet?",
    "What colour is the sky on a clear day?",
    "List three fruits.",
    "What is the largest ocean?",
    "Finish the sentence: the early bird",
    "What does a thermometer measure?",
    "Prove that the square root of 2 is irrational, and say where the proof would fail for 4.",
    "A train leaves at 9:40 and covers 210 km in 2 h 20 min. If it then waits 15 minutes and returns at 70 km/h, when?",
    "Compare merge sort and quicksort: worst case, memory, stability, and which you would choose for linked lists, and why.",
    "Explain step by step why a balanced binary tree of n nodes has height about log2(n), then derive the cost of a lookup.",
    "Our cache evicts by LRU and the hit rate fell after we doubled its size. Explain two causes and how to test each.",
    "Write a function that merges overlapping intervals, explain its complexity, and give three edge cases it must handle.",
    "If 3 machines make 3 parts in 3 minutes, how many minutes do 100 machines need for 100 parts? Explain each step.",
    "Draft a contract clause that limits liability to direct damages, then list two cases where a court may not enforce it.",
)
