"""Procedurally drawn journal pages with exact boxes: endless training data for document layout."""

from models.data.pages.page import LABELS, Page, render_page

__all__ = ["LABELS", "Page", "render_page"]
