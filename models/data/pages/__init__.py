"""Procedurally drawn journal pages with exact boxes: endless training data for document layout."""

from models.data.pages.page import Page, render_page

__all__ = ["Page", "render_page"]
